# Ce que lisent celles et ceux qui attendent : phrases courtes, mots simples, vouvoiement.
# $service est le nom du portail, tel que l’exploitant l’a donné ; aucune phrase ne suppose son genre.
# Les espaces insécables sont toutes des U+00A0 : de vieux téléphones n’ont pas de signe pour l’espace fine.

language-name = Français
# Ce qui sépare les milliers.
thousands = { "\u00A0" }

waiting-title = Vous êtes dans la file d’attente
waiting-what = Beaucoup de monde veut aller sur { $service } en même temps. Tout le monde entre à son tour : recharger la page ne fait pas gagner de temps.

before-title = Ce n’est pas encore l’heure
before-what = L’entrée sur { $service } n’est pas encore ouverte, et vous avez déjà votre place. À l’ouverture, l’ordre est tiré au sort entre toutes les personnes qui sont là : peu importe qui est arrivé en premier.

paused-title = L’entrée est en pause
paused-what = Personne n’entre sur { $service } pour l’instant. Votre place dans la file est gardée.

checking-title = Un instant, s’il vous plaît
checking-what = Nous cherchons votre place pour { $service }. Cela prend quelques secondes.

unreachable-title = Nous ne pouvons pas vous faire entrer pour l’instant
unreachable-what = Le système qui donne les tours pour { $service } ne répond pas. Si vous étiez dans la file, votre place est gardée.

closed-title = L’entrée est fermée
closed-what = Pour l’instant, personne ne peut entrer sur { $service } ni prendre place dans la file.

full-title = La file d’attente est pleine
full-what = Trop de personnes attendent déjà pour { $service }. Vous prendrez place dès que possible.

no-cookies-title = Votre navigateur refuse les cookies
no-cookies-what = C’est un cookie qui garde votre place dans la file. Sans lui, vous ne pouvez pas entrer sur { $service }.
no-cookies-how = Ouvrez les réglages de votre navigateur, cherchez « cookies » et autorisez-les pour ce site. Puis revenez ici.
no-cookies-private = Si cela ne suffit pas, essayez dans une fenêtre ordinaire (pas en navigation privée) ou avec un autre navigateur.
no-cookies-only = Ce cookie ne sert qu’à cela : il ne vous suit sur aucun autre site.
no-cookies-again = Réessayer

too-many-title = Trop de demandes en même temps
too-many-what = Beaucoup de demandes arrivent par la même connexion que la vôtre. C’est fréquent dans une école ou sur un réseau mobile : vous n’y êtes pour rien.

lost-title = Vous n’êtes plus dans la file
lost-what = Vous avez quitté la file, ou votre navigateur ne nous a plus donné signe de vie pendant { $time }.
lost-then = Si vous voulez toujours aller sur { $service }, reprenez la file.

over-title = Votre session est terminée
over-what = Votre place sur { $service } peut servir à quelqu’un d’autre.
over-then = Pour revenir, reprenez la file. S’il reste de la place, vous entrerez tout de suite.

seated-title = Votre session est ouverte
seated-what = Vous pouvez utiliser { $service }.
seated-then = Quand vous aurez fini, terminez votre session : quelqu’un d’autre pourra entrer.

ending-title = Votre session se termine bientôt
ending-what = Enregistrez dès maintenant ce que vous faites sur { $service }.
ending-then = Quand elle sera terminée, vous pourrez reprendre la file. S’il reste de la place, vous entrerez tout de suite.

reason = Message de l’équipe : { $reason }
fewer = { $service } accueille moins de monde que d’habitude en ce moment : l’attente est plus longue.

place =
    { $ahead ->
        [0] Vous êtes parmi les premiers à cette entrée.
        [one] Une personne est devant vous à cette entrée.
       *[other] { $shown } personnes sont devant vous à cette entrée.
    }
wait-soon = Attente estimée : moins d’une minute.
wait-within = Attente estimée : moins de { $to }.
wait-minutes = Attente estimée : entre { $from } et { $to } minutes.
wait-between = Attente estimée : entre { $from } et { $to }.
wait-about = Attente estimée : environ { $to }.
wait-over = Attente estimée : plus de { $from }.
wait-unknown = Nous ne savons pas encore combien de temps vous attendrez.

opens = Ouverture prévue { $when }.
resumes = Reprise prévue { $when }.
at-time = à { $hour } h { $minute }
at-day =
    le { $day ->
        [1] 1er
       *[other] { $day }
    } { $month ->
        [1] janvier
        [2] février
        [3] mars
        [4] avril
        [5] mai
        [6] juin
        [7] juillet
        [8] août
        [9] septembre
        [10] octobre
        [11] novembre
       *[12] décembre
    } à { $hour } h { $minute }

moment = quelques secondes
seconds = { $count } secondes
minutes =
    { $count ->
        [one] une minute
       *[other] { $count } minutes
    }
hours =
    { $count ->
        [one] une heure
       *[other] { $count } heures
    }
hours-minutes = { $hours } h { $minutes }

asked = Dernière mise à jour à { $time }
failed = Pas de réponse pour l’instant. Vous n’avez rien à faire : cette page réessaie toute seule. Si cela dure, vérifiez votre connexion.
then-turn = Quand ce sera votre tour, cette page vous conduira d’elle-même vers { $service }.
then-again = Cette page réessaie toute seule : inutile de la recharger.
keep = Vous pouvez fermer cette page un moment : votre place est gardée pendant { $time }.

left = Il vous reste { $time }.
left-free = Aucune heure de fin n’est prévue.
onward = Aller sur { $service }
again = Reprendre la file
leave-queue = Quitter la file
leave-queue-sure = Vous perdrez votre place. Si vous revenez, vous serez à la fin de la file.
leave-queue-yes = Oui, quitter la file
leave-session = Terminer ma session
leave-session-sure = Avez-vous enregistré votre travail ? Pour revenir, il faudra peut-être attendre.
leave-session-yes = Oui, terminer ma session
my-session = Ma session
close = Fermer ce message

tab = { $title } – { $service }
tab-place =
    { $ahead ->
        [0] Parmi les premiers – { $service }
       *[other] { $shown } devant vous – { $service }
    }

meanwhile = En attendant
new-tab = (dans un nouvel onglet)
languages = Langue de cette page
