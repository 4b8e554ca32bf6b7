"""What a job costs: asked of the provider where it answers that, else by the dated table. The operator's ceiling."""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from ..common.text import MAX_USD
from .errors import PolicyError
from .models import PRICES_OF, Model, dollars
from .providers import Provider
from .settings import CEILING_VARIABLE
from .transport import UnavailableError, Wire


@dataclass(frozen=True)
class Price:
    """US dollars for a clip; None where nobody names them.

    Attributes:
        asked: Of the provider, just before the job.
    """

    usd: float | None
    asked: bool

    def __str__(self) -> str:
        if self.usd is None and self.asked:
            return "price unknown; what the provider names can be none"
        if self.usd is None:
            return f"price unknown; no source of {PRICES_OF} names it"
        return f"{dollars(self.usd)}, as asked" if self.asked else f"about {dollars(self.usd)}, prices of {PRICES_OF}"


async def find_price(
    wire: Wire, provider: Provider, model: Model, resolution: str, duration: int, fields: dict[str, Any]
) -> Price:
    """Asks for the price, or estimates it. Asking is free and may fail."""
    if provider.price:
        try:
            reply = await wire.post(provider.price, {"model_id": model.id, "inputs": fields})
            usd = _quoted(reply.data) if reply.fine else None
        except UnavailableError:
            usd = None
        if usd is not None:
            return Price(usd if usd <= MAX_USD else None, asked=True)
    return Price(model.estimate(resolution, duration), asked=False)


def _quoted(data: Any) -> float | None:
    # A discounted price of 0 means that there is no discount, not that the clip is free.
    inner = data.get("data", data) if isinstance(data, dict) else None
    if not isinstance(inner, dict) or inner.get("currency", "USD") not in ("USD", "usd", "$"):
        return None
    for name in ("discounted_price", "price", "unit_price"):
        value = inner.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(min(value, 2 * MAX_USD))  # it may have 400 digits
    return None


class Purse:
    """What each run of a graph has spent, so that twenty nodes together keep the operator's ceiling."""

    KEPT = 256  # runs

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.spent: OrderedDict[str, float] = OrderedDict()

    def spend(self, run_id: str, price: Price, ceiling: float | None) -> None:
        """Books a job that is about to be submitted.

        Raises:
            PolicyError: It would cost more than a run may, or nobody can say what it costs.
        """
        if ceiling is None:
            return
        if price.usd is None:
            raise PolicyError(
                f"A run may cost {dollars(ceiling)} here, and nobody names the price of this model. "
                "Choose another one. "
                f"Whoever runs this ComfyUI sets the limit in {CEILING_VARIABLE}."
            )
        with self.lock:
            before = self.spent.get(run_id, 0.0)
            if before + price.usd > ceiling + 1e-9:
                spent = f" after {dollars(before)} already spent" if before else ""
                raise PolicyError(
                    f"A run may cost {dollars(ceiling)} here, and this clip costs {dollars(price.usd)}{spent}. "
                    "Choose a shorter or smaller clip, or a cheaper model. "
                    f"Whoever runs this ComfyUI sets the limit in {CEILING_VARIABLE}."
                )
            self.spent[run_id] = before + price.usd
            while len(self.spent) > self.KEPT:
                self.spent.popitem(last=False)

    def give_back(self, run_id: str, price: Price) -> None:
        """Takes back a booking: the job was refused."""
        with self.lock:
            if price.usd is not None and run_id in self.spent:
                self.spent[run_id] -= price.usd
