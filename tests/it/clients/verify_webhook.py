"""Says whether Svix's library takes a request for one that was signed with a secret: `verified` or `refused`.

Standard input is a JSON object: secret, fields, body.
"""

import json
import sys

from svix.webhooks import Webhook, WebhookVerificationError

asked = json.load(sys.stdin)
try:
    Webhook(asked["secret"]).verify(asked["body"], asked["fields"])
    print("verified")
except WebhookVerificationError:
    print("refused")
