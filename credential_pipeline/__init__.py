"""The flow, in the order of its folders:

    extract -> gate -> identify -> issue -> publish -> renew -> report   (-> serve)

Source systems give rows (extract). Each row is accepted, or quarantined with a code and a remedy (gate). The people in
them are one person across systems (identify). The catalogue's rules make awards of accepted evidence, a plan says what
would happen, and what is approved is signed, checked and recorded (issue). What is recorded becomes objects that
verify without us (publish). What expires is due for renewal (renew). What happened adds up (report).

`credential` is pure: what a credential is and why it is true. `store` is what lasts. `institution` is what an adopter
writes, `settings` where it is. `definitions` assembles it all for Dagster.
"""
