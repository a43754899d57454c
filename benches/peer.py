"""What the comparisons with llama.cpp share: the programs of both sides, and how they are run."""

import os
import pathlib
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
LLAMA_CPP_PYTHON = "0.3.36"
# As much as a CPU without AVX-512 has.
AVX2 = "-DGGML_NATIVE=OFF -DGGML_AVX512=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON"


def build_siskin():
    run(["cargo", "build", "--release", "--package", "siskin-cli"], cwd=ROOT)
    return TARGET / "release" / "siskin"


def environment(avx2=False):
    """The Python that has llama-cpp-python, compiled in `target/peers` the first time.

    PEERS_VENV and PEERS_VENV_AVX2 may name environments that have it already.
    """
    given = os.environ.get("PEERS_VENV_AVX2" if avx2 else "PEERS_VENV")
    if given:
        return pathlib.Path(given) / "bin" / "python"
    folder = TARGET / "peers" / ("venv-avx2" if avx2 else "venv")
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        venv.create(folder, clear=True, with_pip=True)
        variables = {"CMAKE_ARGS": AVX2} if avx2 else {}
        # A wheel from a cache may have been compiled with other options.
        packages = [f"llama-cpp-python=={LLAMA_CPP_PYTHON}", "gguf", "safetensors"]
        install = [python, "-m", "pip", "install", "--no-cache-dir", *packages]
        run(install, env=os.environ | variables)
        done.touch()
    return python


def run(command, capture=False, **options):
    """Runs a command, which must succeed; what it prints, if wanted."""
    command = [str(part) for part in command]
    result = subprocess.run(command, stdout=subprocess.PIPE if capture else None, text=True, check=False, **options)
    if result.returncode != 0:
        sys.stderr.write(result.stderr or "")
        sys.exit(f"error: {' '.join(command)} ended with {result.returncode}")
    return result.stdout


def commit():
    """The commit that is measured, with a + where files differ from it."""
    name = run(["git", "rev-parse", "--short", "HEAD"], capture=True, cwd=ROOT).strip()
    changed = run(["git", "status", "--porcelain", "--", "engine", "quant", "tools"], capture=True, cwd=ROOT)
    return f"{name}+" if changed.strip() else name
