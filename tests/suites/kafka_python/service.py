"""What kafka-python's source distribution leaves out of its tests: the service that runs outside of them.

The tests import it as `test.service`."""


class ExternalService:
    """A broker that runs already, and goes on."""

    def __init__(self, host, port):
        self.host, self.port = host, port

    def open(self):
        pass

    def close(self):
        pass

    def stop(self):
        pass

    def dump_logs(self):
        pass


class SpawnedService:
    """A broker that the tests would start."""

    def __init__(self, args, env):
        raise NotImplementedError("the tests run on a broker that is there")
