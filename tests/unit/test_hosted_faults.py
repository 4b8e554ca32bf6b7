"""What providers do wrong: no job is submitted twice, and no paid job is lost."""

import pytest
from pack.tests.toy.faults import FAULTS
from pack.tests.toy.hosted import expected, try_fault
from pack.tests.toy.loopback import KEY, SIGNATURE
from pack.tests.toy.providers import PROVIDERS


def test_there_are_enough():
    assert len(FAULTS) >= 25
    assert len({fault.text for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize(
    ("fault", "provider"),
    # Only WaveSpeed tells a price, and it alone is in the quick ring: half of the faults are waited out.
    [
        pytest.param(fault, name, id=f"{name}-{fault.text}", marks=[] if name == "wavespeed" else pytest.mark.slow)
        for name in PROVIDERS
        for fault in FAULTS
        if fault.phase != "price" or name == "wavespeed"
    ],
    indirect=["provider"],
)
def test_a_fault_costs_neither_a_second_job_nor_a_paid_one(fault, provider, running, tmp_path):
    trial = try_fault(fault, provider, running, tmp_path)
    assert (trial.first.name, trial.again.name) == expected(fault, provider), (trial.first.text, trial.again.text)
    assert trial.twice == 0
    # Where there is no list of jobs, nobody but the owner of the account can find a job whose id never came.
    assert trial.lost == (1 if fault.arrived and not provider.lists_jobs else 0)
    for text in (trial.first.text, trial.again.text):
        assert KEY not in text
        assert SIGNATURE not in text
        assert text.endswith((".", "given", "none"))
    assert provider.leaks == []
    assert provider.problems == []
    assert not list(tmp_path.rglob("*.part"))
    for row in tmp_path.rglob("*.json"):
        kept = row.read_text()
        assert not [secret for secret in (KEY, SIGNATURE, "subject", "://") if secret in kept]
