"""Runs the tests on Ray, which mostly wait, beside those that compute on two cores.

What is given on the command line is for the latter. Its exit status is the first that is not 0.
"""

import os
import subprocess
import sys
import tempfile

PYTEST = (sys.executable, "-m", "pytest")
ON_RAY = (*PYTEST, "-m", "ray")
OTHERS = (
    *(*PYTEST, "--numprocesses", "2", "--dist", "loadfile"),
    *("-m", "not alone and not browser and not ray"),
)

# two processes of two threads each wait for one another on two cores, and take twice as long
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}

with tempfile.TemporaryFile("w+") as said:
    on_ray = subprocess.Popen(ON_RAY, stdout=said, stderr=subprocess.STDOUT)
    others = subprocess.run([*OTHERS, *sys.argv[1:]], check=False, env=ONE_THREAD).returncode
    status = on_ray.wait()
    said.seek(0)
    sys.stdout.write(said.read())
sys.exit(others or status)
