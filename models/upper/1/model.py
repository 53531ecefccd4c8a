"""OUTPUT = INPUT in upper case; text is UTF-8, anything else is answered with an error for that request alone."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Upper-cases each string; keeps the shape."""

    def execute(self, requests):
        """One response a request, in order."""
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        texts = pb_utils.get_input_tensor_by_name(request, "INPUT").as_numpy()
        try:
            upper = [text.decode("utf-8").upper().encode("utf-8") for text in texts.ravel()]
        except UnicodeDecodeError as error:
            return pb_utils.InferenceResponse(
                error=pb_utils.TritonError(f"upper: INPUT is not UTF-8 ({error.reason} at byte {error.start})")
            )
        output = np.array(upper, dtype=np.object_).reshape(texts.shape)
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("OUTPUT", output)])
