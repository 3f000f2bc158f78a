"""The entry of the toy protocol: what a new protocol adds to ``geomail.protocols.facts``."""

from geomail.protocols.facts import ProtocolFacts

TOY = ProtocolFacts(
    name="toy",
    title="TOY",
    implementation="tests.toy.dialogues:ToyProtocol",
    ports=(1717,),
    implicit_tls_ports=(1718,),
    alpn="toy",
    methods=("plain",),
    goodbye=b"BYE",
    dovecot_service="toy-login",
    login_step="IAM",
)
