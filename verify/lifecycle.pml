/*
 * The life cycle of package actor, and the protocol of messages.go on top of it.
 * README.md says which line here is which line there.
 *
 * What the callers do is chosen by the numbers below. All orders in which it can
 * happen are searched.
 */

#ifndef DOS
#define DOS 3                /* callers that make one Do, with either key */
#endif
#ifndef FORGETS
#define FORGETS 0            /* callers that make one Forget, with either key */
#endif
#ifndef MIXED
#define MIXED 0              /* callers (at most 1) that make a DoChan, a Forget and a Do, all with key 0 */
#endif
#define CALLS   (3 * MIXED + DOS + FORGETS)
#define CALLERS (MIXED + DOS + FORGETS)
#define KEYS  2
#define ROOM  1              /* in a mailbox: the less there is, the more must wait */
#define NONE  255
#define OVER  -1

mtype = { do_, done_, forget_ };

/* Address */
byte current = NONE;

/* Activation, one per call at most */
typedef Activation {
	short claims;        /* made after the first, or OVER */
	bool mailbox;        /* made: the first Send has begun */
	byte first = NONE;   /* the flight to adopt */
	byte released;
	byte byKey[KEYS];
};
Activation act[CALLS];
byte acts;                   /* how many have begun */
chan mailbox[CALLS] = [ROOM] of { mtype, byte };
#ifdef TWO_MAILBOXES
chan forgets[CALLS] = [ROOM] of { mtype, byte };
#endif

/* call, and the flight in it */
typedef Call {
	byte key;
	bool doChan;
	bool leads;
	byte flight = NONE;  /* what it led or joined */
	byte waiters;        /* of its flight, a bit each */
	bool joined;         /* its flight was joined */
	bool forgotten;      /* its flight was */
	bool running;        /* fn */
};
Call call[CALLS];
chan turn[CALLS] = [1] of { bit };
chan results[CALLS] = [1] of { bit };

/* What must hold. */
byte alive;                  /* activations: never two */
byte runningFor[KEYS];       /* flights that were not forgotten: never two */
byte returned;               /* callers */

inline clear(a) {            /* CompareAndSwap(a, nil) */
	atomic { if :: current == a -> current = NONE :: else fi }
}

inline end(a, expected, ended) {
#ifdef ZERO_IS_OVER
	ended = (act[a].claims == expected);
	if :: ended -> act[a].claims = OVER; alive-- :: else fi;
#else
	atomic {
		if
		:: act[a].claims == expected -> act[a].claims = OVER; alive--; ended = true
		:: else -> ended = false
		fi
	};
#endif
	if :: ended -> clear(a) :: else fi
}

/* Claim: a is NONE if the address is at rest. */
inline claim(a) {
	a = current;
	if
	:: a == NONE
	:: else ->
		atomic {
			if
			:: act[a].claims == OVER -> over = true
			:: else -> act[a].claims++; over = false
			fi
		};
		if :: over -> clear(a); a = NONE :: else fi
	fi
}

/* ClaimOrBegin, for call c */
inline claimOrBegin(a, c) {
	began = false;
	do
	:: claim(a);
	   if
	   :: a != NONE -> break
	   :: else ->
		atomic {
			if
			:: current == NONE ->
				assert(alive == 0);
				alive++;
				a = acts; acts++;
				current = a; began = true;
#ifndef PUBLISHED_EARLY
				act[a].first = c;
#endif
			:: else
			fi
		};
#ifdef PUBLISHED_EARLY
		if :: began -> act[a].first = c :: else fi;
#endif
		if :: began -> break :: else fi
	   fi
	od
}

/* Send */
inline send(a, kind, c) {
	assert(act[a].claims != OVER);
	starts = false;
	if
	:: act[a].mailbox
	:: else ->
		atomic { if :: !act[a].mailbox -> act[a].mailbox = true; starts = true :: else fi };
#ifndef LATE_GO
		if :: starts -> run owner(a) :: else fi
#endif
	fi;
#ifdef TWO_MAILBOXES
	if
	:: kind == forget_ -> forgets[a]!kind(c)
	:: else -> mailbox[a]!kind(c)
	fi
#else
	mailbox[a]!kind(c);
#endif
#ifdef LATE_GO
	if :: starts -> run owner(a) :: else fi
#endif
}

inline release(a) {
	if
	:: act[a].claims == act[a].released -> end(a, act[a].released, ended)
	:: else -> ended = false
	fi;
	if :: !ended -> act[a].released++ :: else fi
}

proctype owner(byte a) {
	bool ended, releases, answers;
	mtype kind;
	byte c, k, f;

	atomic {
		act[a].byKey[0] = NONE; act[a].byKey[1] = NONE;
		if                                         /* adopt */
		:: act[a].first != NONE -> act[a].byKey[call[act[a].first].key] = act[a].first
		:: else
		fi
	};
	do
	:: ended -> break
	:: !ended ->
		atomic {
#ifdef TWO_MAILBOXES
			if :: mailbox[a]?kind(c) :: forgets[a]?kind(c) fi;
#else
			mailbox[a]?kind(c);
#endif
			k = call[c].key;
			f = act[a].byKey[k];
			releases = true; answers = true;
			if
			:: kind == do_ && f != NONE ->     /* join */
				call[f].waiters = call[f].waiters | (1 << c);
				call[f].joined = true;
				call[c].flight = f;
				answers = false
			:: kind == do_ && f == NONE ->
				act[a].byKey[k] = c;
				call[c].leads = true;
				releases = false;
				if
				:: call[c].doChan -> run lead(a, c); answers = false
				:: else
				fi
			:: kind == done_ ->
				if :: f == c -> act[a].byKey[k] = NONE :: else fi
			:: kind == forget_ ->
				act[a].byKey[k] = NONE;
				if
				:: f != NONE ->
					call[f].forgotten = true;
					if :: call[f].running -> runningFor[k]-- :: else fi
				:: else
				fi
			fi;
			kind = 0; k = 0; f = 0
		};
#ifdef ANSWER_BEFORE_RELEASE
		if :: answers -> turn[c]!0 :: else fi;
		if :: releases -> release(a) :: else fi;
#else
		if :: releases -> release(a) :: else fi;
		if :: answers -> turn[c]!0 :: else fi;
#endif
		c = 0
	od;
	assert(empty(mailbox[a]))                          /* no message is lost */
}

inline fly(c) {                                            /* fn */
	d_step {
		if
		:: !call[c].forgotten ->
			assert(runningFor[call[c].key] == 0);
			runningFor[call[c].key]++
		:: else
		fi;
		call[c].running = true;
		call[c].flight = c
	};
	d_step {
		call[c].running = false;
		if :: !call[c].forgotten -> runningFor[call[c].key]-- :: else fi
	}
}

/* lead: runs fn and lands. */
inline leadInline(a, c) {
	fly(c);
	end(a, 0, ended);                                  /* TryEnd */
	if
	:: ended
	:: else ->
		send(a, done_, c);
#ifndef DONE_UNANSWERED
		turn[c]?_;
#endif
	fi;
	joined = call[c].joined;
	do
	:: call[c].waiters == 0 -> break
	:: else ->
		atomic {
			/* Nobody is released before the key is free. */
			assert(act[a].byKey[call[c].key] != c || act[a].claims == OVER);
			w = 0;
			do
			:: call[c].waiters & (1 << w) -> break
			:: else -> w++
			od;
			call[c].waiters = call[c].waiters & ~(1 << w);
			if
			:: call[w].doChan -> results[w]!0
			:: else -> turn[w]!0
			fi;
			w = 0
		}
	od;
	atomic {
		assert(joined == call[c].joined);          /* Shared is exact */
		joined = false; ended = false; starts = false;
		if :: call[c].doChan -> results[c]!0 :: else fi
	}
}

proctype lead(byte a; byte c) {
	bool ended, starts, joined;
	byte w;
	leadInline(a, c)
}

inline Do(c) {
	claimOrBegin(a, c);
	if
	:: began -> leadInline(a, c)
	:: else ->
		send(a, do_, c);
		turn[c]?_;
		if :: call[c].leads -> leadInline(a, c) :: else fi
	fi
}

inline DoChan(c) {
	call[c].doChan = true;
	claimOrBegin(a, c);
	if
	:: began -> run lead(a, c)
	:: else -> send(a, do_, c)
	fi
}

inline Forget(c) {
	claim(a);
	if
	:: a == NONE
	:: else ->
		send(a, forget_, c)
#ifndef FORGET_UNANSWERED
		;
		turn[c]?_
#endif
	fi
}

inline returns() {
	atomic {
		returned++;
		/* When the last call returns, the address is at rest. */
		if :: returned == CALLERS -> assert(current == NONE && alive == 0) :: else fi
	}
}

proctype caller() {
	byte a, w;
	bool began, over, starts, ended, joined;
	DoChan(0);
	Forget(1);
	Do(2);
	assert(call[2].flight != 0);                       /* it was forgotten */
	results[0]?_;
	returns()
}

proctype doer(byte c) {
	byte a, w;
	bool began, over, starts, ended, joined;
	if :: call[c].key = 0 :: call[c].key = 1 fi;
	Do(c);
	returns()
}

proctype forgetter(byte c) {
	byte a;
	bool over, starts;
	if :: call[c].key = 0 :: call[c].key = 1 fi;
	Forget(c);
	returns()
}

init {
	byte c = 3 * MIXED;
	atomic {
		if :: MIXED > 0 -> run caller() :: else fi;
		do :: c < 3 * MIXED + DOS -> run doer(c); c++ :: else -> break od;
		do :: c < CALLS -> run forgetter(c); c++ :: else -> break od
	}
}
