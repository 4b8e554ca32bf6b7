"""The English of the panels on the nodes. `make schemas` writes it into `locales`, which ComfyUI hands to the frontend.

`words` and `bypassed` (by node) are what web/*.js asks for by name. All others are what the server says, on which the
frontend puts other languages: whole `lines`, the `facts` of a LoRA between commas, and what may stand in a place that
has a group's name, as {sides}; a digit tells two such places apart. In all other places stands what is shown as it is.
A line that is not here is shown in English.
"""

PANELS = {
    "words": {
        "report": "report",
        "after": "report of the last run",
        "before": "what a run will do",
        "fill": "Fill in the trigger words: {words}",
        "linked": "Known when it runs: {inputs} from another node.",
        "unseen": "Size and crop are known when it runs: the picture is not from Load Image.",
        "absent": "Size and crop are not known: {file} is not there, or is no picture that the browser reads.",
        "silent": "The server does not answer. Is ComfyUI running?",
    },
    "bypassed": {
        "Wan22Turbo_Sampler": "Bypassed: the latent goes on as it came, and nothing samples it.",
        "Wan22Turbo_JoinClips": "Bypassed: only the first clip goes on.",
        "Wan22Turbo_Resolution": "Bypassed: the picture goes on in its own size.",
        "Wan22Turbo_Lora": "Bypassed: no LoRA, no trigger words.",
        "Wan22Turbo_Hosted": "Bypassed: no hosted clip.",
    },
    "lines": {
        "steps": "rCM takes 1 to {most} steps, got {steps}. "
        "For more, use the shifted schedule with an undistilled model.",
        "cropped": "Cropped {share} off: {sides}.",
        "padded": "Padded with {pixels} pixels {sides}.",
        "stretched": "Stretched {share} % {direction}.",
        "enlarged": "Enlarged {times} times.",
        "enlarged_much": "Enlarged {times} times, which looks soft: start from a larger picture.",
        "quality": "Sharpness: {edges}; JPEG blocks: {blocks}.",
        "soft": "This picture will cost quality: it is soft at this size. Start from a larger or sharper one.",
        "blocky": "This picture will cost quality: its JPEG blocks show. Start from a less compressed copy.",
        "none_chosen": "No LoRA is chosen.",
        "paired": "{file} (auto: paired by name)",
        "shared": "{file} (auto: no partner found, the same file serves both experts)",
        "warning": "Warning: {lines}",
        "swapped": "'{file}' is named for the {expert}-noise expert, but it is applied to the {expert1}-noise expert. "
        "Check that the two files are not swapped.",
        "alone": "'{file}' is named for the {expert}-noise expert, but serves both, as its partner is not in the "
        "folder 'loras'. Download the partner, or choose it in lora_low.",
        "other_model": "'{file}' was made for {model}: {consequence}. Choose a Wan 2.2 I2V 14B LoRA.",
        "empty_prompt": "The prompt is empty. Say in a sentence or two what should move, and how.",
        "triggers": "Trigger words: {triggers}",
        "seam": "Seam: {levels} of 255, colours as they came.",
        "seam_matched": "Seam: {levels} of 255, before colours were matched {before}.",
        "joined": "{first} + {second} frames -> {all}: the frame that both hold is in it once.",
        "clip": "Frames: {count}, {size}, {fps} a second, {seconds} seconds.",
        "motion": "Motion: {speed} % of the short side a second, {moving} of {pairs} pairs move; "
        "{needed} make a clip dynamic.",
        "smoothness": "Motion smoothness: {smoothness} of 1.",
        "flicker": "Temporal flickering: {flicker} of 1.",
        "light_flicker": "Brightness flickers by {levels} of 255.",
        "edge_blur": "Edge blur: {start} pixels at the start, {end} at the end.",
        "drift": "Drift: brightness {brightness} of 255, colour {colour} of 255.",
        "likeness": "Likeness of the first frame to the picture: {likeness} of 1.",
        "small": "Motion was not measured: frames need sides of {least} pixels, these are {size}.",
        "few": "Motion or smoothness was not measured: that takes three frames in a row that show something.",
        "broken": "Likeness was not measured: {holder} holds NaN or infinity.",
        "one_colour": "Likeness was not measured: a picture of a single colour is like no other.",
        "nan": "NaN or infinity in frames {frames}: sample or decode the clip again.",
        "black": "Black frames: {frames}.",
        "frozen": "Frozen frames, each as the one before: {frames}.",
        "seams": "Seams: the clip jumps at frames {frames}.",
        "still": "The clip hardly moves: too few pairs of frames move for a dynamic clip.",
        "jerky": "The motion is jerky or noisy: frames do not lie between their neighbours.",
        "flickers": "The clip flickers: its brightness changes from frame to frame.",
        "softer": "The clip gets softer: its edges are blurred at the end.",
        "brighter": "The clip gets brighter towards its end.",
        "darker": "The clip gets darker towards its end.",
        "tinted": "The colours drift towards the end.",
        "unlike": "The first frame does not look like the picture.",
        "good": "Nothing stands out.",
        "price": "About {price}, prices of {date}",
        "no_price": "Price unknown; no source of {date} names it",
        "key": "There is a key for {provider}.",
        "no_key": "{provider} needs an API key, and there is none. Whoever runs this ComfyUI sets the environment "
        "variable {variable}, or runs `{command}` in the folder of this pack.",
    },
    "facts": {
        "rank": "rank {rank}",
        "made_for": "made for {model}",
        "named": "named for the {expert}-noise expert",
        "alpha": "alpha {alpha}",
        "trainer": "with {trainer}",
        "layers": "{matched} of {total} layers ({keys} keys)",
    },
    "sides": {"across": "left and right", "down": "top and bottom"},
    "direction": {"wide": "wider", "tall": "taller"},
    "edges": {"none": "no edges to measure", "blur": "edge blur {blur} pixels (soft above {limit})"},
    "blocks": {"none": "too small to measure", "step": "{levels} of 255 (visible above {limit})"},
    "consequence": {
        "size": "it does not fit a 14B model",
        "text": "with a start image it may do less than it was made for",
    },
    "rank": {"at_most": "up to {most}"},
    "expert": {"high": "high", "low": "low"},
    "holder": {"picture": "the picture", "frame": "the first frame"},
    "triggers": {"none": "the files name none"},
}
