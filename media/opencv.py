"""OpenCV, imported once; where it is missing or broken, only what uses it fails, and says what to install."""

from typing import NoReturn


class _Unavailable:
    """Stands in for the module until it is used."""

    def __init__(self, reason: Exception) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise ImportError(
            f"Resizing and saving need OpenCV, which cannot be imported here: {self._reason}. "
            "Install opencv-python-headless (a server without a display has no libGL)."
        ) from self._reason


try:
    import cv2
except (ImportError, AttributeError) as err:  # AttributeError: built against another NumPy
    cv2 = _Unavailable(err)
