"""Many prompts on many ComfyUIs: studies, their jobs, and where these run. `python client batch --help`."""
