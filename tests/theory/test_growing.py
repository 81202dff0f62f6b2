import torch

from holdfast.theory.growing import Growing


def test_rows_are_those_appended_through_growth():
    rows = torch.arange(70.0, dtype=torch.float64).view(35, 2)
    growing = Growing(2, torch.float64, torch.device("cpu"))
    for few in rows.split(6):
        growing.append(few)
    assert len(growing) == 35
    assert torch.equal(growing.rows, rows)


def test_rows_may_be_written_to():
    growing = Growing(2, torch.float64, torch.device("cpu"))
    growing.append(torch.zeros(3, 2, dtype=torch.float64))
    growing.rows.add_(1)
    growing.append(torch.zeros(20, 2, dtype=torch.float64))
    assert float(growing.rows.sum()) == 6
