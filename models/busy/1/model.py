"""OUTPUT = INPUT, after the time that an accelerator would need.

The wait is a sleep, on purpose: Triton's host thread waits for a GPU in the same way, and burning a processor instead would make the
replicas of a small machine take time from one another, so that adding some would shorten no queue.
"""

import json
import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """One execution takes ``compute_ms`` (config.pbtxt parameter, milliseconds, default 50), for one request or a full batch."""

    def initialize(self, args):
        """Read the parameter once."""
        parameters = json.loads(args["model_config"]).get("parameters", {})
        text = parameters.get("compute_ms", {}).get("string_value", "50")
        try:
            milliseconds = float(text)
        except ValueError:
            milliseconds = -1.0
        if not 0.0 <= milliseconds < float("inf"):
            raise pb_utils.TritonModelException(
                f'busy: parameter compute_ms is "{text}": the model cannot load. Set a number of milliseconds, 0 or more, in config.pbtxt.'
            )
        self.seconds = milliseconds / 1000.0

    def execute(self, requests):
        """One wait for all requests of the batch, then one response each, in order."""
        time.sleep(self.seconds)
        responses = []
        for request in requests:
            value = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
            responses.append(pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("OUTPUT", value)]))
        return responses
