# Ce que lisent celles et ceux qui attendent. Phrases courtes, mots simples, vouvoiement.
# $service : le nom du portail, tel que l'exploitant l'a donné.

language-name = Français

waiting-title = Vous êtes dans la file d’attente
waiting-what = Beaucoup de monde arrive en même temps sur { $service }. Chacun entre à son tour, dans l’ordre d’arrivée.

before-title = { $service } n’est pas encore ouvert
before-what = L’ordre d’entrée est tiré au sort à l’ouverture entre celles et ceux qui sont déjà là : rien ne sert de recharger la page.
before-opens = Ouverture prévue à { $time }.

paused-title = L’entrée est suspendue un moment
paused-what = Personne n’entre sur { $service } pour l’instant. Votre place est gardée.

closed-title = { $service } est fermé
closed-what = Personne ne peut entrer ni prendre place dans la file pour l’instant.

unreachable-title = Nous ne pouvons pas vous faire entrer pour l’instant
unreachable-what = Le système qui donne les tours ne répond pas. Votre place est gardée, et nous essayons encore.

full-title = La file est complète ici
full-what = Trop de monde attend déjà à cette entrée. Nous essayons encore pour vous.

ending-title = Votre session se termine bientôt
ending-what = Enregistrez votre travail sur { $service }.
ending-left = Il vous reste { $left }.
ending-extendable = Elle continue tant que vous vous servez du portail.
ending-fixed = Elle ne peut pas être prolongée : d’autres attendent leur tour.

over-title = Votre session est terminée
over-what = Vous avez laissé votre place à d’autres. Vous pouvez reprendre la file.
over-again = Reprendre la file

reason = Message de l’exploitant :
fewer = { $service } accueille moins de monde que d’habitude en ce moment : l’attente est plus longue.

place =
    { $ahead ->
        [0] Vous êtes parmi les prochains.
        [one] Une personne est devant vous.
       *[other] { $shown } personnes sont devant vous.
    }
wait = Attente estimée : entre { $from } et { $to }.
wait-about = Attente estimée : environ { $to }.
wait-unknown = Nous ne savons pas encore combien de temps cela prendra.
minutes =
    { $count ->
        [one] une minute
       *[other] { $shown } minutes
    }
seconds =
    { $count ->
        [one] une seconde
       *[other] { $shown } secondes
    }
hours =
    { $count ->
        [one] une heure
       *[other] { $shown } heures
    }

asked = Mis à jour à { $time }.
ask-failed = Pas de réponse pour l’instant. Nouvel essai dans { $left } ; votre place est gardée.
then = Quand votre tour viendra, { $service } s’ouvrira tout seul sur cette page.
then-reload = Cette page se recharge toute seule.
close-minute = Vous pouvez la fermer un moment : votre place vous attend { $keep }.
your-turn = C’est votre tour : { $service } s’ouvre.
meanwhile = En attendant
leave = Quitter la file
languages = Langue
