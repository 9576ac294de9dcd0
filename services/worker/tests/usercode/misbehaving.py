"""A model that does what tasks should not do. Children import it by name, as they import any user's package."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator


class Misbehaving(BaseEstimator):
    """Does `how` in fit and in predict; `argument` is what that needs."""

    def __init__(self, how="nothing", argument=None):
        self.how = how
        self.argument = argument

    def fit(self, X, y=None):
        getattr(self, self.how)()
        self.fitted_ = True
        return self

    def predict(self, X):
        getattr(self, self.how)()
        return np.zeros(len(X))

    def nothing(self):
        pass

    def raises(self):
        raise LookupError(self.argument)

    def leaves(self):
        sys.exit(3)

    def exits(self):
        os._exit(3)

    def is_killed(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def allocates(self):
        self.kept_ = np.ones(self.argument * 1024 * 1024, dtype=np.uint8)

    def sleeps(self):
        time.sleep(self.argument)

    def ignores_sigterm(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.leaves_a_process()
        time.sleep(60)

    def leaves_a_process(self):
        process = subprocess.Popen(["sleep", "60"])
        Path(self.argument).write_text(f"{process.pid}")

    def prints(self):
        for number in range(self.argument):
            print(f"line {number}")
        print("on stderr", file=sys.stderr)

    def tells_its_environment(self):
        names = [name for name in os.environ if name.startswith("OMEGA_")]
        Path(self.argument).write_text("\n".join(f"{name}={os.environ[name]}" for name in names))

    def tells_its_process(self):
        Path(self.argument).write_text(str(os.getpid()))

    def hangs_up(self):
        for descriptor in range(3, 64):
            try:
                os.close(descriptor)
            except OSError:
                continue
        time.sleep(60)

    def sleeps_at_first(self):
        """Touch the file, then sleep; on the next attempt the file is there."""
        file = Path(self.argument)
        if not file.exists():
            file.write_text(os.environ["OMEGA_TASK_ATTEMPT"])
            time.sleep(60)

    def waits_for_file(self):
        Path(f"{self.argument}.begun").touch()
        while not Path(self.argument).exists():
            time.sleep(0.01)
