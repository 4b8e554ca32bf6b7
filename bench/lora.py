"""Load LoRA with Trigger Words against core's LoraLoaderModelOnly: the same file onto the same expert, weights patched.

lora.py                      both in turn, and the rows
lora.py memory PEER FOLDER   one of them alone, for its peak memory
"""

import statistics
import sys
import tempfile
from pathlib import Path

import harness

DIM, FFN_DIM, LAYERS, RANK = 1536, 4096, 4, 64
LORA = "bench_lora.safetensors"


def write_models(folder):
    """Writes an expert and a LoRA for every matrix of its blocks, as trainers write it."""
    import torch
    from pack.tests.toy.models import expert
    from safetensors.torch import save_file

    state = expert(1, dim=DIM, ffn_dim=FFN_DIM, layers=LAYERS, dtype=torch.float16)
    save_file(state, Path(folder) / "expert.safetensors")
    generator = torch.Generator().manual_seed(2)
    lora = {}
    for name, weight in state.items():
        if name.startswith("blocks.") and name.endswith(".weight") and weight.ndim == 2:
            layer = f"diffusion_model.{name.removesuffix('.weight')}"
            lora[f"{layer}.lora_down.weight"] = torch.randn(RANK, weight.shape[1], generator=generator) / 64
            lora[f"{layer}.lora_up.weight"] = torch.randn(weight.shape[0], RANK, generator=generator) / 64
            lora[f"{layer}.alpha"] = torch.tensor(32.0)
    save_file({name: tensor.to(torch.bfloat16) for name, tensor in lora.items()}, Path(folder) / LORA)


class Peers:
    """The two ways to put a LoRA on an expert."""

    def __init__(self, folder):
        import folder_paths
        import pack.nodes.lora  # noqa: F401  # both sides' code is there before memory is measured
        import torch
        from comfy import sd

        folder_paths.folder_names_and_paths["loras"] = ([str(folder)], {".safetensors"})
        # As stored, as on a GPU; a CPU would widen it first.
        self.expert = sd.load_diffusion_model(
            str(Path(folder) / "expert.safetensors"), model_options={"dtype": torch.float16}
        )

    def core(self):
        """As ComfyUI's templates wire it."""
        import nodes

        return self.patch(nodes.LoraLoaderModelOnly().load_lora_model_only(self.expert, LORA, 1.0)[0])

    def ours(self):
        """The node's own path, with its report."""
        from pack.nodes import lora as node
        from pack.weights.loras import report as lora_report

        matches = node.matches_of(LORA, node.NONE)
        model = node.apply(self.expert, matches[0])
        lora_report.report(matches)
        return self.patch(model)

    def load_only_core(self):
        """Up to the patcher: nothing is computed yet."""
        import nodes

        nodes.LoraLoaderModelOnly().load_lora_model_only(self.expert, LORA, 1.0)

    def load_only_ours(self):
        """The same of the node, which reads the header too."""
        from pack.nodes import lora as node

        node.apply(self.expert, *node.matches_of(LORA, node.NONE))

    @staticmethod
    def patch(model):
        """Computes every patched weight, as loading for sampling does, takes one for a check, and puts them back."""
        model.patch_model()
        check = model.model.diffusion_model.blocks[0].ffn[0].weight.detach().clone()
        model.unpatch_model()
        return check


def formats_read():
    """Returns how many of the LoRA formats change the weights as their formula says, for core's loader and for ours."""
    import comfy.lora
    import comfy.lora_convert
    import torch
    from pack.tests.toy import lora_formats
    from pack.tests.toy.loaded import apply_lora, load_expert
    from pack.tests.toy.models import expert
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        save_file(expert(1), Path(folder) / "expert.safetensors")
        model = load_expert(str(Path(folder) / "expert.safetensors"), "default")
        key_map = comfy.lora.model_lora_keys_unet(model.model, {})
        counts = {"core": 0, "ours": 0}
        for write in lora_formats.FORMATS.values():
            tensors, metadata, changes = write(torch.Generator().manual_seed(3), torch.float32)
            path = Path(folder) / "lora.safetensors"
            save_file(tensors, path, metadata)
            of_core = model.clone()
            of_core.add_patches(comfy.lora.load_lora(comfy.lora_convert.convert_lora(tensors), key_map, False), 1.0)
            for name, patched in (("core", of_core), ("ours", apply_lora(model, str(path), 1.0).model)):
                counts[name] += changed_by(model, patched, changes)
    return {"formats": len(lora_formats.FORMATS), **counts}


def changed_by(model, patched, changes):
    """Returns whether a patcher, when it loads its model, changes the weights by what it should."""
    import torch
    from comfy.utils import get_attr

    def weights():
        return {name: get_attr(model.model, f"diffusion_model.{name}").detach().clone() for name in changes}

    before = weights()
    patched.patch_model()
    after = weights()
    patched.unpatch_model()
    return all(torch.allclose(after[name] - before[name], change, atol=1e-5) for name, change in changes.items())


def alone(name, folder):
    """Runs one peer in this process and prints the most memory that it took."""
    harness.import_comfyui()
    getattr(Peers(folder), name)()
    print(harness.peak_mb())


def main():
    """Measures and saves the rows."""
    if sys.argv[1:2] == ["memory"]:
        alone(*sys.argv[2:4])
        return
    if sys.argv[1:2] == ["write"]:
        harness.import_comfyui()
        write_models(sys.argv[2])
        print(0.0)
        return
    with tempfile.TemporaryDirectory() as folder:
        harness.peak_memory(Path(__file__), "write", folder)
        # First, while this process is small: on Linux a child's peak begins with its parent's.
        memory = {name: [] for name in ("core", "ours")}
        for _ in range(3):
            for name, peaks in memory.items():
                peaks.append(harness.peak_memory(Path(__file__), "memory", name, folder))
        peak = {name: statistics.median(peaks) for name, peaks in memory.items()}
        harness.import_comfyui()
        peers = Peers(folder)
        difference = float((peers.core() - peers.ours()).abs().max())
        whole = harness.alternate({"core": peers.core, "ours": peers.ours}, runs=11)
        load = harness.alternate({"core": peers.load_only_core, "ours": peers.load_only_ours}, runs=11)
        harness.save(
            {
                "LoRA: Load LoRA with Trigger Words / LoraLoaderModelOnly, loaded and patched": {
                    "time ratio": round(whole["ours"].seconds / whole["core"].seconds, 3),
                    "processor time ratio": round(whole["ours"].cpu / whole["core"].cpu, 3),
                    "peak memory ratio": round(peak["ours"] / peak["core"], 3),
                    "peak memory MB ours": round(peak["ours"]),
                    "ms ours": round(1e3 * whole["ours"].seconds, 1),
                    "ms until the patcher has it, ours": round(1e3 * load["ours"].seconds, 1),
                    "ms until the patcher has it, core": round(1e3 * load["core"].seconds, 1),
                    "largest difference of a weight": difference,
                },
                "LoRA: formats whose effect is exact": formats_read(),
            }
        )


if __name__ == "__main__":
    main()
