"""Secrets of every kind that people paste into graphs, made up on the spot: no scanner takes this file for a leak."""

import random
import string

ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"
HEX = "0123456789abcdef"
LOWER = string.ascii_lowercase + string.digits


class Maker:
    """Draws the letters of made-up secrets from a seed."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)

    def of(self, alphabet: str, count: int) -> str:
        return "".join(self.random.choices(alphabet, k=count))

    def uuid(self) -> str:
        return "-".join(self.of(HEX, count) for count in (8, 4, 4, 4, 12))


def secrets(seed: int = 1) -> dict[str, str]:
    """Returns one secret of each kind."""
    make = Maker(seed)
    of, jwt = make.of, "eyJhbGciOiJIUzI1NiJ9." + make.of(URLSAFE, 40) + "." + make.of(URLSAFE, 43)
    return {
        # Keys of services for models and pictures
        "Hugging Face": "hf_" + of(ALNUM, 34),
        "OpenAI": "sk-proj-" + of(URLSAFE, 48),
        "Anthropic": "sk-ant-api03-" + of(URLSAFE, 93),
        "WaveSpeed": "wsk_" + of(ALNUM, 32),
        "Replicate": "r8_" + of(ALNUM, 37),
        "Groq": "gsk_" + of(ALNUM, 52),
        "NVIDIA": "nvapi-" + of(URLSAFE, 64),
        "Perplexity": "pplx-" + of(ALNUM, 48),
        "RunPod": "rpa_" + of(ALNUM.upper(), 43),
        "ElevenLabs": "sk_" + of(HEX, 48),
        "fal": make.uuid() + ":" + of(HEX, 32),
        "xAI": "xai-" + of(ALNUM, 80),
        "Together": "tgp_v1_" + of(URLSAFE, 43),
        "Fireworks": "fw_" + of(ALNUM, 24),
        "Civitai": of(HEX, 32),
        "Stability": "sk-" + of(ALNUM, 48),
        "AtlasCloud": "apikey-" + of(HEX, 32),
        # Keys of other services
        "GitHub": "ghp_" + of(ALNUM, 36),
        "GitHub, fine-grained": "github_pat_" + of(ALNUM, 22) + "_" + of(ALNUM, 59),
        "GitLab": "glpat-" + of(URLSAFE, 20),
        "Slack": "xoxb-" + of(string.digits, 12) + "-" + of(string.digits, 12) + "-" + of(ALNUM, 24),
        "Slack, app": "xapp-1-A" + of(string.digits, 9) + "-" + of(string.digits, 12) + "-" + of(HEX, 64),
        "Discord bot": "M" + of(ALNUM, 23) + "." + of(ALNUM, 6) + "." + of(URLSAFE, 27),
        "Telegram bot": of(string.digits, 10) + ":AA" + of(URLSAFE, 33),
        "npm": "npm_" + of(ALNUM, 36),
        "PyPI": "pypi-AgEIcHlwaS5vcmc" + of(URLSAFE, 60),
        "Amazon": "AKIA" + of(string.ascii_uppercase + "234567", 16),
        "Amazon, secret": of(ALNUM + "+/", 40),
        "Google": "AIza" + of(URLSAFE, 35),
        "Google OAuth": "ya29." + of(URLSAFE, 60),
        "Google client": "GOCSPX-" + of(URLSAFE, 28),
        "JSON Web Token": jwt,
        "SendGrid": "SG." + of(URLSAFE, 22) + "." + of(URLSAFE, 43),
        "Mailgun": "key-" + of(HEX, 32),
        "Mailchimp": of(HEX, 32) + "-us12",
        "Stripe": "sk_live_" + of(ALNUM, 24),
        "Stripe, restricted": "rk_live_" + of(ALNUM, 24),
        "Stripe webhook": "whsec_" + of(ALNUM, 32),
        "Shopify": "shpat_" + of(HEX, 32),
        "Square": "sq0atp-" + of(URLSAFE, 22),
        "Twilio": "SK" + of(HEX, 32),
        "Azure storage": "AccountKey=" + of(ALNUM + "+/", 86) + "==",
        "DigitalOcean": "dop_v1_" + of(HEX, 64),
        "Linear": "lin_api_" + of(ALNUM, 40),
        "Notion": "ntn_" + of(ALNUM, 46),
        "Figma": "figd_" + of(URLSAFE, 40),
        "Postman": "PMAK-" + of(HEX, 24) + "-" + of(HEX, 34),
        "Databricks": "dapi" + of(HEX, 32),
        "Vault": "hvs." + of(URLSAFE, 90),
        "Grafana": "glsa_" + of(ALNUM, 32) + "_" + of(HEX, 8),
        "New Relic": "NRAK-" + of(string.ascii_uppercase + string.digits, 27),
        "Dropbox": "sl.B" + of(URLSAFE, 60),
        "Doppler": "dp.pt." + of(ALNUM, 43),
        "Cloudflare": of(URLSAFE, 40),
        "age": "AGE-SECRET-KEY-1" + of("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58),
        "Atlassian": "ATATT3xFfGF0" + of(URLSAFE, 60),
        "Facebook": "EAAC" + of(ALNUM, 90),
        # Keys in longer texts
        "PEM": f"-----BEGIN RSA PRIVATE KEY-----\n{of(ALNUM, 64)}\n{of(ALNUM, 64)}\n-----END RSA PRIVATE KEY-----",
        "OpenSSH": f"-----BEGIN OPENSSH PRIVATE KEY-----\n{of(ALNUM, 70)}\n-----END OPENSSH PRIVATE KEY-----",
        "database": "postgres://ada:" + of(ALNUM, 12) + "@db",
        "basic authorization": "Authorization: Basic " + of(ALNUM, 24),
        "one-time password": "otpauth://totp/x:ada?secret=" + of(string.ascii_uppercase + "234567", 16),
        "cookie": "Cookie: session=" + of(ALNUM, 32),
        "signed address": "https://x.org/a.png?X-Amz-Signature=" + of(HEX, 64),
        "wallet": "0x" + of(HEX, 64),
        "netrc": "machine x.org login ada password " + of(ALNUM, 8) + "7" + of(ALNUM, 7),
        "password in words": "the password is " + of(ALNUM, 8) + "7" + of(ALNUM, 7),
        "passphrase": "passphrase: correct-horse-battery-staple",
        "curl": "curl -u ada:" + of(ALNUM, 16),
        "packed": "L2hvbWUvYWRhL3BpY3R1cmVzL2NhdC5wbmcgYW5kIG1vcmU=",  # /home/ada/pictures/cat.png and more
        "escaped path": "file%3A%2F%2F%2Fhome%2Fada%2Fcat.png",
        # Webhooks
        "Slack webhook": f"https://hooks.slack.com/services/T{of(ALNUM, 8)}/B{of(ALNUM, 8)}/{of(ALNUM, 24)}",
        "Discord webhook": f"https://discord.com/api/webhooks/{of(string.digits, 18)}/{of(URLSAFE, 68)}",
        "Teams webhook": f"https://x.webhook.office.com/webhookb2/{make.uuid()}@{make.uuid()}/Incoming/{of(HEX, 32)}",
        "Zapier webhook": f"https://hooks.zapier.com/hooks/catch/{of(string.digits, 7)}/{of(LOWER, 7)}/",
        "Telegram address": f"https://api.telegram.org/bot{of(string.digits, 10)}:AA{of(URLSAFE, 33)}/sendVideo",
        "ntfy address": "https://ntfy.sh/" + of(ALNUM, 16),
        # People and places
        "e-mail": "ada.lovelace@example.org",
        "phone": "+44 20 7946 0958",
        "phone, dashes": "(555) 010-4477",
        "phone, dots": "555.010.4477",
        "WhatsApp": "https://wa.me/442079460958",
        "social security": "078-05-1120",
        "coordinates in words": "48.8583° N, 2.2945° E",
        "degrees and minutes": "48°51'30\"N 2°17'40\"E",
        "latitude and longitude": "lat: 48.8583, lon: 2.2945",
        "geo address": "geo:48.8583,2.2945",
        "map address": "https://maps.x.org/@48.8583,2.2945,17z",
        "OpenStreetMap": "https://www.openstreetmap.org/#map=17/48.85837/2.29448",
        "map, short": "https://maps.app.goo.gl/" + of(ALNUM, 17),
        "degrees, letter first": "N 48° 51.500' E 2° 17.700'",
        "well-known text": "POINT(2.29448 48.85837)",
        "plus code": "8FVC9G8F+6W",
        "IBAN": "DE89 3704 0044 0532 0130 00",
        "credit card": "4111 1111 1111 1111",
        "address of a machine": "http://192.168.7.23:8188/view",
        "network card": "00:1A:2B:3C:4D:5E",
        "address of a machine, IPv6": "http://[fd00::7:12]:8188/view",
        "tunnel to a machine": f"https://{of(LOWER, 12)}.ngrok-free.app/view",
        "rented machine": f"https://{of(LOWER, 14)}-8188.proxy.runpod.net/view",
        "public SSH key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + of(ALNUM + "+/", 43) + " ada@laptop",
    }
