"""Image to Video Latent against core's WanImageToVideo: 81 frames at tier 240p, with tiny VAEs.

One VAE settles after 4 latent frames. The other has random weights and does not settle within 81 frames.

encoding.py                    both nodes in turn, and the rows
encoding.py comparing          what comparing costs where nothing settles, within one run: other work on the machine
                               slows both sides of this ratio alike
encoding.py memory VAE PEER    one of them alone, for its peak memory
"""

import sys
import time
from pathlib import Path

import harness

FRAMES, WIDTH, HEIGHT = 81, 416, 240
COMPARING = "encoding: encoder with comparing / encoder alone, 81 frames at 240p, VAE that does not settle"
SETTLES_AFTER = 4  # latent frames
CHANNELS = 8  # of the widest pictures in the VAE


class Peers:
    """Both nodes, with the same VAE and picture."""

    def __init__(self, state):
        import comfy.sd
        import torch

        self.vae = comfy.sd.VAE(sd=state)
        self.conditioning = [[torch.zeros(1, 4, 4096), {}]]
        self.latents = {}
        self.picture = torch.rand(1, HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(1))

    def core(self):
        """As ComfyUI's template does it."""
        from comfy_extras.nodes_wan import WanImageToVideo

        place = self.conditioning, [], self.vae, WIDTH, HEIGHT, FRAMES, 1
        self.note("core", lambda: WanImageToVideo.execute(*place, start_image=self.picture))

    def ours(self):
        """The same clip from Image to Video Latent."""
        from pack.nodes.picture import ImageToVideo

        self.note("ours", lambda: ImageToVideo.execute(self.conditioning, self.vae, self.picture, FRAMES / 16))

    def note(self, name, run):
        """Runs a node as ComfyUI does, and keeps the latent picture."""
        import torch

        with torch.inference_mode():
            self.latents[name] = run()[0][0][1]["concat_latent_image"]


def state(name):
    """Returns the weights of a VAE."""
    from pack.tests.toy.models import settling_vae, vae

    return settling_vae(4, SETTLES_AFTER, CHANNELS) if name == "settling" else vae(4, CHANNELS)


def import_comfyui():
    """Imports ComfyUI with its VAE in float32: half precision takes minutes on a CPU."""
    harness.import_comfyui()
    from comfy.cli_args import args

    args.fp32_vae = True


def comparing():
    """Returns the encoder's time with comparing as a ratio to its own, in the same run of Image to Video Latent."""
    peers = Peers(state("random"))
    encoder = peers.vae.first_stage_model.encoder
    own, spent = encoder.forward, {"own": 0.0, "all": 0.0}

    def timed(x, feat_cache=None, feat_idx=None, **rest):
        started = time.perf_counter()
        latents = own(x, feat_cache=feat_cache, feat_idx=feat_idx, **rest)
        spent["own"] += time.perf_counter() - started
        return latents

    encoder.forward = timed  # which Image to Video Latent stands in front of, and leaves in place
    hooks = (
        encoder.register_forward_pre_hook(lambda *_: spent.update(all=spent["all"] - time.perf_counter())),
        encoder.register_forward_hook(lambda *_: spent.update(all=spent["all"] + time.perf_counter())),
    )
    peers.ours()
    for hook in hooks:
        hook.remove()
    del encoder.forward
    peers.core()
    core, ours = peers.latents["core"], peers.latents["ours"]
    return {
        "time ratio": round(spent["all"] / spent["own"], 4),
        "largest difference, share of the largest value": float((core - ours).abs().max() / core.abs().max()),
    }


def row(name, peak, runs=5):
    """Returns what one VAE shows."""
    peers = Peers(state(name))
    timing = harness.alternate({"core": peers.core, "ours": peers.ours}, runs=runs)
    core, ours = peers.latents["core"], peers.latents["ours"]
    return {
        "time ratio": round(timing["ours"].seconds / timing["core"].seconds, 3),
        "processor time ratio": round(timing["ours"].cpu / timing["core"].cpu, 3),
        "seconds ours": round(timing["ours"].seconds, 2),
        "seconds core": round(timing["core"].seconds, 2),
        "peak memory ratio": round(peak["ours"] / peak["core"], 3),
        "largest difference, share of the largest value": float(f"{(core - ours).abs().max() / core.abs().max():.2g}"),
    }


def main():
    """Measures and saves the rows."""
    if sys.argv[1:2] == ["memory"]:
        import_comfyui()
        getattr(Peers(state(sys.argv[2])), sys.argv[3])()
        print(harness.peak_mb())
        return
    if sys.argv[1:2] == ["comparing"]:
        import_comfyui()
        harness.save({COMPARING: comparing()})
        return
    # First, while this process is small: on Linux a child's peak begins with its parent's.
    peak = {
        name: {peer: harness.peak_memory(Path(__file__), "memory", name, peer) for peer in ("core", "ours")}
        for name in ("settling", "random")
    }
    import_comfyui()
    from pack.media.vae_encode import TOLERANCE

    harness.save({COMPARING: comparing()})
    title = "encoding: Image to Video Latent / WanImageToVideo, 81 frames at 240p, "
    settling = {**row("settling", peak["settling"]), "tolerance": TOLERANCE}
    harness.save({title + f"VAE that settles after {SETTLES_AFTER} latent frames": settling})
    harness.save({title + "VAE that does not settle": row("random", peak["random"])})


if __name__ == "__main__":
    main()
