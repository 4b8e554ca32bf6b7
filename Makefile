# Each target is one line; the work is in tools/. A fresh clone needs nothing but Python and make.
PYTHON ?= python3
export COMFYUI COMFYUI_DIR COMFYUI_PYTHON WAN22_TURBO_CACHE CHROMIUM

.PHONY: demo serve test test-quick bench tiny setup graphs schemas share-check pins

demo: ; @$(PYTHON) tools/bootstrap.py tools/demo.py $(ARGS)
serve: ; @$(PYTHON) tools/bootstrap.py tools/demo.py --serve $(ARGS)
bench: ; @$(PYTHON) tools/bootstrap.py bench/run.py $(ARGS)
tiny: ; @$(PYTHON) tools/bootstrap.py tiny/train.py $(ARGS)
test: ; @$(PYTHON) tools/bootstrap.py tools/check.py $(ARGS)
test-quick: ; @$(PYTHON) tools/bootstrap.py tools/check.py --quick
setup: ; @$(PYTHON) tools/bootstrap.py
graphs: ; @$(PYTHON) tools/bootstrap.py tools/graph_files.py $(ARGS)
schemas: ; @$(PYTHON) tools/bootstrap.py tools/schemas.py
share-check: ; @$(PYTHON) tools/bootstrap.py tools/share_check.py $(ARGS)
pins: ; @$(PYTHON) tools/bootstrap.py tools/pins.py $(ARGS)
