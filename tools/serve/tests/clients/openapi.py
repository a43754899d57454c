"""Asks a server what its own document says can be asked, and much that it says cannot: python3 openapi.py SISKIN [EXAMPLES [PHASES]]

Schemathesis makes the requests: the document's examples, EXAMPLES for each address at random, the same each time, and with the phase
`coverage` what lies at the bounds of each field and just beyond them. Whatever is asked, the answer is one that the document has: its status,
its kind, and all of its fields and no others, also in each event or line of a stream. Nothing that the document does not allow is
taken, and there is no fault of the server's.
"""

import pathlib
import subprocess
import sys

from server import Server

HERE = pathlib.Path(__file__).parent


def main(program, examples="5", phases="examples,fuzzing"):
    server = Server(program, "--ctx-size", "256", "--log", "json")
    command = [pathlib.Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml",
               "run", f"{server.url}/openapi.json", "--phases", phases, "--max-examples", examples,
               "--generation-deterministic", "--continue-on-failure", "--no-color"]
    environment = {"SCHEMATHESIS_HOOKS": "lines", "PYTHONPATH": str(HERE), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, cwd=server.folder.name, stdout=subprocess.PIPE, text=True)
    status = server.end()
    faults = [line for line in server.lines if '"level":"error"' in line]
    if done.returncode != 0 or status != 0 or faults:
        raise SystemExit("\n".join([done.stdout, *faults, f"the server ended with {status}"]))
    print("\n".join(done.stdout.splitlines()[-12:]))


if __name__ == "__main__":
    main(*sys.argv[1:])
