"""The last section of ``geomail.toml(5)``: what geomail refuses and why, and what it leaves to others."""

SECURITY = r"""
.Sh SECURITY CONSIDERATIONS
.Ss Mail without a login
With
.Cm none
in
.Cm smtp_auth ,
clients that have not logged in are led to a backend.
A backend that takes such a client for geomail permits it what it permits
geomail: in Postfix, an address in
.Cm mynetworks
may relay.
So the backend must know the client's address before it hears of any mail:
from an XCLIENT command with ADDR that it accepted
.Po
.Cm [UNAVAILABLE]
for a client without an address
.Pc ,
or from a PROXY header with the client's address.
Otherwise the client hears a temporary failure (451),
and an error in the log names the remedy.
.Pp
With
.Cm xclient
and
.Cm proxy_protocol
both off, geomail tells the backend nothing, and such mail passes:
the backend must then permit geomail no more than it permits strangers.
.Xr geomail-check-config 1
warns of it.
.Ss SMTP smuggling
Until the login, a line ends at LF, with or without CR before it, as in nginx,
and a line with NUL, or with a CR that ends nothing, is refused.
After it, geomail passes all bytes on unchanged and does not know where a
message ends.
A server that ends a message where another one does not can be made to take
one message for two (CVE-2023-51764).
The backend must protect itself: in Postfix,
.Cm smtpd_forbid_bare_newline
does, which is on by default from version 3.9.
.Ss Tickets of TLS sessions
What a ticket is encrypted with opens the session in it, and with TLS 1.2 all
that was said in that session, if an attacker has recorded it.
.Po
With TLS 1.3 a recording stays closed: each resumed session agrees on a key of
its own.
.Pc
Where
.Cm ssl_session_ticket_key
names no files, the key changes after
.Cm ssl_session_timeout
and an hour, in all workers at once, and at each reload and start;
the one before is kept for
.Cm ssl_session_timeout ,
and then erased.
Each key but the first after a reload is a digest of the one before:
an attacker that reads a worker's memory can open the tickets
of the key in use and of those that are still kept,
and those that are made later until the next reload,
but none of earlier keys.
So a reload a day bounds what a leak costs to a day.
Nothing is lost with it where the session cache is
.Cm shared :
sessions from before the reload can be resumed until they expire.
Otherwise such a client makes a full handshake, as in nginx.
With files, their keys are good, and open tickets, for as long as they stand
there.
.Cm ssl_session_tickets = \(dqoff\(dq
makes none.
.Ss Line breaks in names and passwords
A user name or password with CR, LF or NUL is refused in all protocols,
in an IMAP literal too, where RFC 9051 allows CR and LF.
What a client gives in one protocol is said in others: in a line of POP3 or
SMTP, in a quoted string, in a header.
There, what follows a line break would be the next command.
"""
