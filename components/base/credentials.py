"""What looks like a credential and would be readable where it is put: in a manifest, a command line, an image's history."""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = re.compile(
    r"(^|[_.-])(token|secret|password|passwd|passphrase|apikey|pat|dsn|credentials?"
    r"|(api|access|secret|private|account|license|signing|encryption|auth)[_.-]?key([_.-]id)?)$",
    re.IGNORECASE,
)
"""By their last words: HF_TOKEN and AWS_SECRET_ACCESS_KEY, but not MAX_TOKENS, TOKENIZERS_PARALLELISM or KEY_FILE."""
_VALUES: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\"private_key\""
    r"|^(hf_|nvapi-|gh[pousr]_|github_pat_|glpat-|sk-|xox[abpr]-|AKIA|ASIA|AIza|ya29\.|eyJ)[\w.~+/=-]{12,}$"
    r"|^[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@"
    r"|(^|[,;&?\s])(password|token|secret|api_?key)=(?!\$\()[^,;&\s]+"
)
"""Private keys, keys of well-known services, addresses with a password, and settings of a list."""


def looks_secret(name: str, value: str) -> bool:
    """Whether ``value``, known as ``name``, is likely a credential. A path, an empty value and a reference ``$(NAME)`` are not."""
    if not value or value.startswith(("/", "$(")) or value.lower() in {"true", "false", "0", "1"}:
        return False
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return _NAMES.search(words) is not None or _VALUES.search(value) is not None
