"""A workload in another cloud, without any secret of ours: google-auth with a file of type external_account.

Reads $DOORWARD_DEV_JSON and nothing else; the addresses in the credential file are those that Google's own tool writes. Prints what
each way led to, by its name.
"""

import json
import pathlib
import tempfile
import time

from cryptography.hazmat.primitives.asymmetric import rsa
import jwt
import requests

from google_auth_constants import CLOUD, SCOPES, TARGET, WORLD, default, identity_of_target, informed, refused


class Elsewhere:
    """An issuer in another cloud, whose keys were given to us when its provider was made, and a program that it knows."""

    ISSUER, KID = "https://issuer.elsewhere.example", "elsewhere-1"

    def __init__(self, pool):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.kept = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.kept.name)
        self.pool = f"projects/{WORLD['project']['number']}/locations/global/workloadIdentityPools/{pool}"
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        keys = {"keys": [{**jwk, "kid": self.KID, "alg": "RS256", "use": "sig"}]}
        pools, _, name = self.pool.rpartition("/")
        self.administer(f"{pools}?workloadIdentityPoolId={name}", {})
        self.administer(
            f"{self.pool}/providers?workloadIdentityPoolProviderId=provider",
            {
                "attributeMapping": {"google.subject": "assertion.sub"},
                "attributeCondition": "assertion.repository == 'acme/web'",
                "oidc": {"issuerUri": self.ISSUER, "jwksJson": json.dumps(keys)},
            },
        )
        member = f"principal://iam.googleapis.com/{self.pool}/subject/repo:acme/web"
        roles = ["roles/iam.workloadIdentityUser", "roles/iam.serviceAccountTokenCreator"]
        account = f"projects/-/serviceAccounts/{TARGET}"
        policy = self.administer(f"{account}:getIamPolicy", {})
        policy["bindings"] = policy.get("bindings", []) + [{"role": role, "members": [member]} for role in roles]
        self.administer(f"{account}:setIamPolicy", {"policy": policy})

    @staticmethod
    def administer(path, body):
        headers = {"Authorization": f"Bearer {WORLD['admin_token']}"}
        response = requests.post(f"https://iam.googleapis.com/v1/{path}", json=body, headers=headers)
        if response.status_code != 200:
            raise ValueError(f"{path}: {response.status_code} {response.text}")
        return response.json()

    def credential_file(self, name, impersonate, **claims):
        """What `gcloud iam workload-identity-pools create-cred-config` writes, and the token that it names."""
        audience = f"//iam.googleapis.com/{self.pool}/providers/provider"
        now = int(time.time())
        claims = {
            "iss": self.ISSUER, "sub": "repo:acme/web", "repository": "acme/web", "aud": f"https:{audience}",
            "iat": now, "exp": now + 600, **claims,
        }
        token = self.folder / f"{name}.jwt"
        token.write_text(jwt.encode(claims, self.key, "RS256", {"kid": self.KID}), encoding="utf-8")
        config = {
            "universe_domain": "googleapis.com",
            "type": "external_account",
            "audience": audience,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "token_url": "https://sts.googleapis.com/v1/token",
            "credential_source": {"file": str(token)},
        }
        if impersonate:
            config["service_account_impersonation_url"] = (
                f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{TARGET}:generateAccessToken"
            )
        file = self.folder / f"{name}.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        return file


ELSEWHERE = Elsewhere("elsewhere")
# way => whether the file names the account to act as, and claims that differ
FILES = {
    "impersonating": (True, {}),
    "good": (False, {}),
    "other_repository": (False, {"repository": "other/web"}),
    "other_subject": (False, {"sub": "repo:other/web"}),
    "other_audience": (False, {"aud": WORLD["app"]["client_id"]}),
    "other_issuer": (False, {"iss": "https://other.example"}),
    "expired": (False, {"iat": int(time.time()) - 900, "exp": int(time.time()) - 300}),
}


def led(name, impersonate, claims):
    credentials = default(ELSEWHERE.credential_file(name, impersonate, **claims), SCOPES if impersonate else CLOUD)
    return informed(credentials) if impersonate else identity_of_target(credentials, True)


print(json.dumps({name: refused(lambda: led(name, *file)) for name, file in FILES.items()}))
