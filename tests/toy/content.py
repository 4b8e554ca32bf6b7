"""What the operator's filters are shown in tests, and a module of the operator's that notes it."""

import torch

JUDGES = """
import numpy

asked = []
answer = True

def judge(question):
    kept = [picture.mean((0, 1)).round(-1).astype(int).tolist() for picture in question.pictures]
    asked.append((question.stage, question.prompt, question.negative_prompt, question.trigger_words, kept))
    return answer if question.stage in stages else True

stages = ("prompt", "clip")
"""


def red(height: int = 32) -> torch.Tensor:
    """A picture of the one colour that `JUDGES` notes as [200, 50, 0]."""
    return torch.tensor([0.8, 0.2, 0.0]).expand(1, height, 32, 3)
