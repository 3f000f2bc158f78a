"""The last section of ``geomail.toml(5)``: attacks, and what geomail does against them."""

SECURITY = r"""
.Sh SECURITY CONSIDERATIONS
.Ss Mail without a login
With
.Cm none
in
.Cm smtp_auth ,
geomail relays clients that have not logged in to a backend.
If the backend sees geomail's address in place of the client's, it permits the
client everything that it permits geomail.
In Postfix, for example, each address in
.Cm mynetworks
may relay.
So geomail must tell the backend the client's address before any mail:
by an XCLIENT command with ADDR that the backend accepts
.Po
.Cm [UNAVAILABLE]
for a client without an address
.Pc ,
or by a PROXY header with the client's address.
Otherwise geomail answers the client with a temporary failure (451),
and logs an error that names the remedy.
.Pp
With
.Cm xclient
and
.Cm proxy_protocol
both off, geomail tells the backend nothing, and relays such mail.
Then the backend must not permit geomail more than it permits strangers.
.Xr geomail-check-config 1
warns of this.
.Ss SMTP smuggling
Before the login, a line ends at LF, with or without CR before it, as in nginx.
geomail refuses a line with NUL, or with a CR that is not before LF.
After the login, geomail passes all bytes on without change, and does not know
where a message ends.
If two servers disagree about the end of a message, an attacker can make one
of them read one message as two (CVE-2023-51764).
The backend must protect itself.
In Postfix,
.Cm smtpd_forbid_bare_newline
does this; it is on by default since version 3.9.
.Ss Tickets of TLS sessions
An attacker who has the key of a ticket can decrypt the session's secrets in it.
With TLS 1.2, the attacker can then also decrypt a recording of that session.
.Po
With TLS 1.3 a recording stays safe: each resumed session agrees on a key of
its own.
.Pc
If
.Cm ssl_session_ticket_key
names no files, geomail changes the key after
.Cm ssl_session_timeout
plus one hour, in all workers at once, and at each reload and start.
It keeps the previous key for
.Cm ssl_session_timeout ,
and then erases it.
Each key is a digest of the previous one, except the first key after a reload.
So an attacker who reads a worker's memory can decrypt tickets of the current
key, of the keys that geomail still keeps, and of all later keys until the next
reload, but not tickets of earlier keys.
With one reload a day, a leak exposes the tickets of one day at most.
If the session cache is
.Cm shared ,
a reload loses nothing: clients can resume older sessions until these expire.
Otherwise such a client makes a full handshake, as in nginx.
If you use files, their keys encrypt and decrypt tickets for as long as the
configuration names them.
With
.Cm ssl_session_tickets = \(dqoff\(dq ,
geomail makes no tickets.
.Ss Line breaks in names and passwords
geomail refuses a user name or password with CR, LF or NUL in all protocols,
even in an IMAP literal, in which RFC 9051 allows CR and LF.
geomail sends these names and passwords on in other protocols: in a line of POP3
or SMTP, in a quoted string, in a header.
There, the text after a line break would be the next command.
"""
