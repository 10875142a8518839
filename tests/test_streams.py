"""What a device makes is looked at in its order, one behind where that spares waiting, and never forgotten."""

from __future__ import annotations

import pytest
import torch

from halfseen.streams import Behind, sent

CPU = torch.device("cpu")


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_things_are_looked_at_in_order_and_as_late_as_agreed(lag: int) -> None:
    looked: list[int] = []

    def look(number: int) -> int:
        looked.append(number)
        return 10 * number

    behind = Behind(CPU, look)
    assert behind.lag == 0  # a CPU is done when it says so
    behind.lag = lag
    for number in range(5):
        assert list(behind.add(number)) == [(n, 10 * n) for n in [number - lag] if n >= 0]
    assert looked == list(range(5 - lag))
    assert list(behind.add(5, last=True)) == [(n, 10 * n) for n in range(5 - lag, 6)]
    assert list(behind.add(6, last=True)) == [(6, 60)]


def test_what_is_where_it_belongs_is_not_sent() -> None:
    tensor = torch.rand(3)
    assert sent(tensor, CPU) is tensor
    assert sent(tensor, torch.device("meta")).device.type == "meta"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_is_looked_at_while_it_works_on() -> None:
    device = torch.device("cuda")
    behind: Behind[torch.Tensor, float] = Behind(device, lambda tensor: tensor.sum().item())
    assert behind.lag == 1
    found, matrix = [], torch.rand(2000, 2000, device=device)
    for number in range(20):
        made = sent(torch.full((1000,), number), device)
        matrix = matrix @ matrix / matrix.norm()
        found += [seen for _, seen in behind.add(made, last=number == 19)]
    assert found == [1000 * number for number in range(20)]
