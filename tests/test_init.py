"""The package's face: the promised names, loaded on first use."""

import subprocess
import sys

import pytest

import hiresnn


def test_importing_the_package_does_not_import_torch():
    code = "import sys, hiresnn; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("name", hiresnn.__all__)
def test_every_promised_name_is_there(name):
    assert getattr(hiresnn, name) is not None
    assert name in dir(hiresnn)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = hiresnn.trian
    with pytest.raises(AttributeError, match="Did you mean: 'evaluate'"):
        _ = hiresnn.evalute
