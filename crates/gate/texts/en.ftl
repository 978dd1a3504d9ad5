# What those who wait read: short sentences, plain words.
# $service is the portal's name, as the operator gave it.

language-name = English
# What stands between thousands.
thousands = ,

waiting-title = You are in the queue
waiting-what = Many people want to use { $service } at the same time. Everyone gets a turn: reloading the page does not get you in any faster.

before-title = It is not time yet
before-what = { $service } is not open yet, and you already have your place. When it opens, the order is drawn by lot among everyone who is here: it does not matter who came first.

paused-title = Entry is paused
paused-what = Nobody is getting into { $service } right now. Your place in the queue is kept.

checking-title = One moment, please
checking-what = We are looking for your place for { $service }. It takes a few seconds.

unreachable-title = We can’t let you in right now
unreachable-what = The system that gives out turns for { $service } is not answering. If you were in the queue, your place is kept.

closed-title = Entry is closed
closed-what = Right now nobody can get into { $service } or join the queue.

full-title = The queue is full
full-what = Too many people are already waiting for { $service }. You will get a place as soon as there is one.

no-cookies-title = Your browser is blocking cookies
no-cookies-what = A cookie keeps your place in the queue. Without it you can’t get into { $service }.
no-cookies-how = Open your browser’s settings, look for “cookies” and allow them for this site. Then come back here.
no-cookies-private = If that is not enough, try an ordinary window (not a private one) or another browser.
no-cookies-only = This cookie does nothing else: it does not follow you to any other site.
no-cookies-again = Try again

too-many-title = Too many requests at once
too-many-what = Many requests are coming over the same connection as yours. That is common in a school or on a mobile network: it is not your fault.

lost-title = You are no longer in the queue
lost-what = You left the queue, or we heard nothing from your browser for { $time }.
lost-then = If you still want to use { $service }, join the queue again.

over-title = Your session is over
over-what = Your place on { $service } can go to someone else.
over-then = To come back, join the queue again. If there is room, you will get in at once.

seated-title = Your session is open
seated-what = You can use { $service }.
seated-then = When you have finished, please end your session, so that someone else can get in.

ending-title = Your session ends soon
ending-what = Save what you are doing on { $service } now.
ending-then = When it is over you can join the queue again. If there is room, you will get in at once.

reason = Message from the team: { $reason }
fewer = { $service } is taking in fewer people than usual at the moment, so the wait is longer.

place =
    { $ahead ->
        [0] You are among the first at this entrance.
        [one] One person is ahead of you at this entrance.
       *[other] { $shown } people are ahead of you at this entrance.
    }
wait-soon = Estimated wait: less than a minute.
wait-within = Estimated wait: less than { $to }.
wait-minutes = Estimated wait: between { $from } and { $to } minutes.
wait-between = Estimated wait: between { $from } and { $to }.
wait-about = Estimated wait: about { $to }.
wait-over = Estimated wait: more than { $from }.
wait-unknown = We don’t know yet how long you will wait.

opens = Expected to open { $when }.
resumes = Expected to go on { $when }.
at-time = at { $hour }:{ $minute }
at-day =
    on { $day } { $month ->
        [1] January
        [2] February
        [3] March
        [4] April
        [5] May
        [6] June
        [7] July
        [8] August
        [9] September
        [10] October
        [11] November
       *[12] December
    } at { $hour }:{ $minute }

moment = a few seconds
seconds = { $count } seconds
minutes =
    { $count ->
        [one] one minute
       *[other] { $count } minutes
    }
hours =
    { $count ->
        [one] one hour
       *[other] { $count } hours
    }
hours-minutes = { $hours } h { $minutes } min

asked = Last updated at { $time }
failed = No answer right now. There is nothing you need to do: this page keeps trying. If this goes on, check your connection.
then-turn = When it is your turn, this page will take you to { $service } by itself.
then-again = This page keeps trying by itself: there is no need to reload it.
keep = You can close this page for a while: your place is kept for { $time }.

left = You have { $time } left.
left-free = No end time is set.
onward = Go to { $service }
again = Join the queue again
leave-queue = Leave the queue
leave-queue-sure = You will lose your place. If you come back, you will be at the end of the queue.
leave-queue-yes = Yes, leave the queue
leave-session = End my session
leave-session-sure = Have you saved your work? You may have to wait if you want to come back.
leave-session-yes = Yes, end my session
my-session = My session
close = Close this message

tab = { $title } – { $service }
tab-place =
    { $ahead ->
        [0] Among the first – { $service }
       *[other] { $shown } ahead of you – { $service }
    }

meanwhile = In the meantime
new-tab = (in a new tab)
languages = Language of this page
