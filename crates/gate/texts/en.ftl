# What those who wait read. Short sentences, plain words.
# $service: the portal's name, as the operator gave it.

language-name = English

waiting-title = You are in the queue
waiting-what = Many people have come to { $service } at the same time. Everyone gets in in turn, in the order in which they came.

before-title = { $service } is not open yet
before-what = At opening time the order is drawn by lot among those who are here by then: there is nothing to gain by reloading this page.
before-opens = It opens at { $time }.

paused-title = Nobody gets in for a moment
paused-what = Entry to { $service } is paused. Your place is kept.

closed-title = { $service } is closed
closed-what = Nobody can get in or join the queue for now.

unreachable-title = We can’t let you in for now
unreachable-what = The system that says whose turn it is does not answer. Your place is kept, and we keep trying.

full-title = The queue is full here
full-what = Too many people wait at this entrance already. We keep trying for you.

ending-title = Your session ends soon
ending-what = Save your work on { $service }.
ending-left = You have { $left } left.
ending-extendable = It goes on for as long as you use the portal.
ending-fixed = It can’t be extended: others wait for their turn.

over-title = Your session is over
over-what = You have made room for others. You can join the queue again.
over-again = Join the queue again

reason = Message from those who run it:
fewer = { $service } takes in fewer people than usual at the moment: the wait is longer.

place =
    { $ahead ->
        [0] You are among the next.
        [one] One person is ahead of you.
       *[other] { $shown } people are ahead of you.
    }
wait = Estimated wait: between { $from } and { $to }.
wait-about = Estimated wait: about { $to }.
wait-unknown = We don’t know yet how long it will take.
minutes =
    { $count ->
        [one] one minute
       *[other] { $shown } minutes
    }
seconds =
    { $count ->
        [one] one second
       *[other] { $shown } seconds
    }
hours =
    { $count ->
        [one] one hour
       *[other] { $shown } hours
    }

asked = Updated at { $time }.
ask-failed = No answer for now. We try again in { $left }; your place is kept.
then = When it is your turn, { $service } opens on this page by itself.
then-reload = This page reloads by itself.
close-minute = You can close it for a while: your place waits for you for { $keep }.
your-turn = It is your turn: { $service } opens.
meanwhile = Meanwhile
leave = Leave the queue
languages = Language
