/*
 * The life cycle of package actor, and the protocol of messages.go on top of it.
 * README.md says which line here is which line there.
 *
 * The numbers below say what the callers do. spin searches every order in which it
 * can happen.
 */

#ifndef DOS
#define DOS 0                /* callers that make one Do, with either key; or a DoChan, if there are LEAVERS */
#endif
#ifndef FORGETS
#define FORGETS 0            /* callers that make one Forget or ForgetUnshared, with either key */
#endif
#ifndef MIXED
#define MIXED 0              /* callers (at most 1) that make a DoChan, a Forget and a Do, all with key 0 */
#endif
#ifndef LEAVERS
#define LEAVERS 0            /* callers that make one DoContext, which they may leave, with either key */
#endif
#ifndef KEYS
#define KEYS 2               /* or 1 */
#endif
#ifndef FRESH
#define FRESH 1              /* whether each Do, DoChan and DoContext may be a fresh call; or 0 */
#endif
#define CALLS   (3 * MIXED + DOS + FORGETS + LEAVERS)
#define CALLERS (MIXED + DOS + FORGETS + LEAVERS)
#define ROOM  1              /* in a mailbox: the less, the more senders wait */
#define NONE  255
#define OVER  -1

#ifdef COARSE                /* fewer steps; README.md says which */
#define STEP atomic
#else
#define STEP
#endif

mtype = { do_, land_, leave_, forget_, forgetUnshared_ };
mtype = { leads_, hosts_, joined_, waits_, willLead_ };

/* Address: the entry that it holds: c is that of call c, which is alone; CALLS + a is
 * that of activation a. */
byte current = NONE;
byte note[CALLS] = NONE;     /* in an entry: the flight of the call that is alone */

/* Activation, one per call at most */
typedef Activation {
	short claims;        /* made, or OVER */
	byte released;
	byte alone;          /* the entry whose note the owner gets */
	bool adopted;        /* the owner has adopted it */
	byte byKey[KEYS] = NONE;
	byte forgotten;      /* forgotten flights that have not landed, a bit each */
};
Activation act[CALLS];
byte acts;                   /* how many have begun */
chan mailbox[CALLS] = [ROOM] of { mtype, byte };

/* A call, and the flight in it. The calls that may leave come last. */
typedef Call {
	byte key;
	bool doChan;
	mtype answer;        /* to do */
	bool fresh;          /* the call is a fresh one; false once it is on a flight */
	byte flight = NONE;  /* that the call is on */
	bool left;           /* the call has left its flight */
	bool last;           /* and no caller remains */

	/* its flight: */
	byte answers;        /* the index of the channel where its leader waits */
	bool hosted;         /* a host leads, and no caller */
	byte row;            /* the calls that wait for woken, a bit each */
	byte channels;       /* the calls of DoChan that have joined, a bit each */
	byte next = NONE;    /* the flight that begins when this one lands or is forgotten */
	bool cancelled;      /* fn's context */
	bool woken;          /* the row's channel is closed */

	/* what the assertions look at: */
	byte stale;          /* of a fresh call: flights whose fn began before it, a bit each */
	bool begun;
	bool forgotten;
	bool unshared;       /* forgotten by ForgetUnshared */
	bool running;        /* fn */
	bool landed;         /* the key is free */
	bool abandoned;      /* when it landed */
	bool isShared;       /* as its callers are told */
	byte got;            /* calls that have the result, a bit each */
};
Call call[CALLS];
chan answers[CALLS + LEAVERS] = [2] of { bit };  /* of calls, and then of hosts */
chan results[CALLS] = [1] of { bit };

#define mayLeave(c)  (c >= CALLS - LEAVERS)
#define waiters(f)   (call[f].row | call[f].channels)
#define hosted(f)    (call[f].hosted)
#define abandoned(f) (hosted(f) && waiters(f) == 0)
#define requests(f)  (call[f].row >> (CALLS - LEAVERS) != 0)       /* of calls on f that may leave */
#define shared(f)    ((waiters(f) & (waiters(f) - hosted(f))) != 0)  /* by more than one call */

/* What must hold. */
byte alive;                  /* activations: never two */
byte runningFor[KEYS];       /* flights that were not forgotten: never two */
byte due[CALLS + LEAVERS];   /* answers that calls and hosts still wait for */
byte abandonedFlights;       /* that have not landed */
byte returned;               /* callers */

byte first = CALLS - LEAVERS;  /* of the callers that may leave and have not begun */

inline give(c) {             /* an answer, to a call or host that waits for one */
	atomic { assert(due[c] > 0 && nfull(answers[c])); due[c]--; answers[c]!0 }
}

/* Call c gets the result of flight f: when the key is free, and once. If c is fresh, fn
 * began after c. */
#define gets(c, f) \
	assert(call[f].landed && !(call[f].got & (1 << c))); \
	assert(!(call[c].stale & (1 << f))); \
	call[f].got = call[f].got | (1 << c)

inline deliver(c) {          /* the result, to the channel of a DoChan */
	atomic { assert(nfull(results[c])); gets(c, call[c].flight); results[c]!0 }
}

inline wake(f) {             /* the calls in the row */
	atomic { assert(!call[f].woken); call[f].woken = true }
}

inline await(c) {            /* the landing, in the row */
	atomic { call[call[c].flight].woken -> gets(c, call[c].flight) }
}

inline clear(e) {            /* CompareAndSwap(e, nil) */
	atomic { if :: current == e -> current = NONE :: else fi }
}

/* Claim: a is NONE if the address is at rest. */
inline claim(a) { STEP {
	do
	:: e = current;
	   if
	   :: e == NONE -> a = NONE; break
	   :: e != NONE && e >= CALLS ->
		atomic {
			if
			:: act[e - CALLS].claims == OVER -> over = true
			:: else -> act[e - CALLS].claims++; over = false
			fi
		};
		if
		:: over -> clear(e)
		:: else -> a = e - CALLS; break
		fi
	   :: e < CALLS ->
		atomic {
			if
			:: current == e ->
				assert(alive == 0);
				alive++;
				a = acts; acts++;
				act[a].claims = 2; act[a].alone = e;
				current = CALLS + a; begins = true
			:: else -> begins = false
			fi
		};
#ifndef LATE_GO
		if :: begins -> run owner(a); begins = false; break :: else fi
#else
		if :: begins -> break :: else fi
#endif
	   fi
	od;
	e = 0; over = false
}}

/* Call c begins. It may be fresh. */
inline chooseFresh(c) {
	atomic {
		if
		:: true
		:: true ->
			call[c].fresh = true;
			do
			:: e < CALLS ->
				if
				:: call[e].key == call[c].key && call[e].begun && !call[e].landed ->
					call[c].stale = call[c].stale | (1 << e)
				:: else
				fi;
				e++
			:: else -> break
			od;
			e = 0
		fi
	}
}

/* ClaimOrEnter, for call c: a is NONE if it is alone. */
inline claimOrEnter(a, c) { STEP {
#if FRESH
	chooseFresh(c);
#endif
	do
	:: atomic {
		if
		:: current == NONE ->
			current = c; entered = true;
			call[c].flight = c; call[c].fresh = false; call[c].stale = 0;
			if :: mayLeave(c) -> call[c].hosted = true; call[c].row = 1 << c :: else fi;
#ifndef PUBLISHED_EARLY
			note[c] = c
#endif
		:: else -> entered = false
		fi
	   };
#ifdef PUBLISHED_EARLY
	   if :: entered -> note[c] = c :: else fi;
#endif
	   if
	   :: entered -> a = NONE; break
	   :: else ->
		claim(a);
		if :: a != NONE -> break :: else fi
	   fi
	od;
	entered = false
}}

/* Exit, by the call that is alone: a is NONE if no other has come. */
inline exit(a) { STEP {
	e = current;
	if
	:: e < CALLS ->
#ifdef EXIT_BY_STORE
		current = NONE; a = NONE; call[e].landed = true
#else
		atomic { if :: current == e -> current = NONE; a = NONE; call[e].landed = true :: else -> a = 0 fi }
#endif
	:: else -> a = 0
	fi;
	if
	:: a != NONE ->
		atomic { assert(current != NONE && current >= CALLS); a = current - CALLS }
	:: else
	fi;
	e = 0
}}

/* Send */
inline send(a, kind, c) { STEP {
	atomic {
		assert(act[a].claims != OVER);
		if
		:: kind == land_ -> due[call[c].answers]++
		:: else -> due[c]++
		fi
	};
	mailbox[a]!kind(c);
#ifdef LATE_GO
	if :: begins -> run owner(a); begins = false :: else fi
#endif
}}

inline release(a) { STEP {
	act[a].released++;
#ifdef ZERO_IS_OVER
	ended = (act[a].claims == act[a].released);
	if :: ended -> act[a].claims = OVER; alive-- :: else fi;
#else
	atomic {
		if
		:: act[a].claims == act[a].released -> act[a].claims = OVER; alive--; ended = true
		:: else -> ended = false
		fi
	};
#endif
	if :: ended -> clear(CALLS + a) :: else fi
}}

#ifdef SPARES_NONE
#define spared false
#endif
#ifdef SPARES_SHARED
#define spared (kind == forgetUnshared_ && shared(f))
#endif
#ifndef spared
#define spared (kind == forgetUnshared_ && (shared(f) || call[f].next != NONE))
#endif

#ifdef JOINS_ABANDONED
#define joins(c, f) (!call[c].fresh)
#endif
#ifdef JOINS_BEGUN
#define joins(c, f) (!abandoned(f))
#endif
#ifndef joins
#define joins(c, f) (!call[c].fresh && !abandoned(f))
#endif

inline begin(c, f) {
	f = c;
	call[c].answer = leads_;
	call[c].flight = f;
	if
	:: mayLeave(c) ->
		call[f].hosted = true;
		join(c, f);
		call[c].answer = hosts_
	:: else
	fi
}

inline join(c, f) {
	assert(!call[f].forgotten && !call[f].landed);
	call[c].answer = joined_;
	call[c].flight = f;
	if
	:: call[c].doChan -> call[f].channels = call[f].channels | (1 << c)
	:: else -> call[f].row = call[f].row | (1 << c)
	fi
}

inline joinNext(c, f) {      /* c is fresh, or f is abandoned */
	n = call[f].next;
#ifdef NEXT_REPLACED
	n = NONE;
#endif
	if
	:: n == NONE -> n = c; call[f].next = c; call[c].hosted = true
	:: else
	fi;
	if
	:: !hosted(n) -> join(c, n)
	:: hosted(n) && mayLeave(c) -> join(c, n); call[c].answer = waits_
	:: else ->
		assert(!call[n].begun);
		call[c].answer = willLead_;
		call[c].flight = n;
#ifndef STILL_HOSTED
		call[n].hosted = false;
#endif
		call[n].answers = c;
		due[c]++                                   /* that the flight begins */
	fi
}

inline beginNext(f) {        /* of key k */
	n = call[f].next;
	if
	:: n != NONE ->
#ifndef BEGINS_TWICE
		call[f].next = NONE;
#endif
		assert(kind != forgetUnshared_);           /* a flight with a next one is spared */
		assert(!hosted(n) || requests(n));         /* there is an fn to run */
		act[a].byKey[k] = n;
#ifndef BEGUN_UNCLAIMED
		releases = false;
#endif
		if :: hosted(n) -> run lead(a, n, true) :: else -> give(call[n].answers) fi
	:: else
	fi
}

inline leave(c, f) {         /* n is the flight of the key */
	call[f].row = call[f].row & ~(1 << c);
	call[c].left = true;
	if
	:: !abandoned(f)
#ifdef KEPT_BY_NEXT
	:: abandoned(f) && call[f].next != NONE
#endif
#ifndef EMPTY_BEGINS
	:: abandoned(f) && n != NONE && call[n].next == f -> call[n].next = NONE
#endif
	:: else ->
		call[c].last = true;
		abandonedFlights++;
#ifdef ABANDONED_IS_FREE
		act[a].byKey[k] = NONE
#endif
#ifdef BEGINS_AT_LEAVE
		beginNext(f)
#endif
	fi
}

/* whether f has not landed; n is the flight of the key */
#ifdef FORGOTTEN_HAS_LANDED
#define find(f) (n == f || n != NONE && call[n].next == f)
#else
#define find(f) (act[a].forgotten & (1 << f) || n == f || n != NONE && call[n].next == f)
#endif

proctype owner(byte a) {
	bool ended, releases, abandonedOne;
	mtype kind;
	byte c, k, f, n;

	do
	:: ended -> break
	:: !ended -> STEP {
		atomic {
			mailbox[a]?kind(c);
			if                                 /* stateOf */
			:: !act[a].adopted ->
				act[a].adopted = true;
				f = note[act[a].alone];
				if :: f != NONE -> act[a].byKey[call[f].key] = f :: else fi
			:: else
			fi;
			k = call[c].key;
			f = act[a].byKey[k];
			releases = true; abandonedOne = false;
			if
			:: kind == do_ ->
#ifdef SHARED_ANSWERS
				call[c].answers = c;
#endif
				if
				:: f == NONE ->
					begin(c, f);
					act[a].byKey[k] = f;
					releases = false
				:: f != NONE && joins(c, f) -> join(c, f)
#ifdef BEGINS_EARLY
				:: f != NONE && call[c].fresh ->
					begin(c, f);
					act[a].byKey[k] = f;
					releases = false
#endif
				:: else -> joinNext(c, f)
				fi;
				call[c].fresh = false;
				call[c].stale = call[c].stale & (1 << call[c].flight)   /* it stays on that */
			:: kind == land_ ->                /* its flight is c */
				if
				:: f == c -> act[a].byKey[k] = NONE
				:: else -> act[a].forgotten = act[a].forgotten & ~(1 << c)
				fi;
				call[c].landed = true;
				abandonedOne = abandoned(c);
#ifndef NEVER_BEGINS
#ifdef ABANDONED_ONLY
				if :: abandonedOne -> beginNext(c) :: else fi;
#else
				beginNext(c);
#endif
#endif
				c = call[c].answers
			:: kind == leave_ ->
				n = f;
				f = call[c].flight;
				if
				:: find(f) -> leave(c, f)
				:: else ->
					assert(call[f].landed);
#ifdef LEAVE_AFTER_LANDING
					call[c].left = true
#endif
				fi;
#ifdef LEAVE_LOST
				c = NONE
#endif
			:: else ->                         /* forget, unless spared */
				if
				:: f != NONE && !spared ->
					act[a].byKey[k] = NONE;
					act[a].forgotten = act[a].forgotten | (1 << f);
					call[f].forgotten = true;
					call[f].unshared = (kind == forgetUnshared_);
					if :: call[f].running -> runningFor[k]-- :: else fi;
#ifndef FORGET_BEGINS_NONE
					beginNext(f)
#endif
				:: else
				fi
			fi;
			kind = 0; k = 0; f = 0; n = 0
		};
#ifdef ANSWER_BEFORE_RELEASE
		if :: c != NONE -> give(c) :: else fi;
#endif
		if :: releases -> release(a) :: else fi;
		if :: abandonedOne -> abandonedFlights-- :: else fi;
#ifndef ANSWER_BEFORE_RELEASE
		if :: c != NONE -> give(c) :: else fi;
#endif
		c = 0
		}
	od;
	assert(empty(mailbox[a]))                          /* no message is lost */
}

inline fly(f) {                                            /* fn, unless all have left */
	d_step {
		assert(!call[f].begun);
		call[f].begun = true;
		call[f].running = !call[f].cancelled;
		if
		:: call[f].running && !call[f].forgotten ->
			assert(runningFor[call[f].key] == 0);
			runningFor[call[f].key]++
		:: else
		fi
	}
}

inline ends(f) {
	d_step {
		if :: call[f].running && !call[f].forgotten -> runningFor[call[f].key]-- :: else fi;
		call[f].running = false
	}
}

/* lead: runs fn and lands flight f. */
inline leadInline(a, f) {
	fly(f);
	STEP {
	ends(f);
	if :: a == NONE -> exit(a) :: else fi;
#ifdef WOKEN_EARLY
	wake(f);
#endif
	if
	:: a == NONE
	:: else ->
		send(a, land_, f);
#ifndef LAND_UNANSWERED
		answers[call[f].answers]?_;
#endif
	fi;
	atomic {
		call[f].isShared = shared(f);
		call[f].abandoned = abandoned(f);
		w = call[f].channels;
		/* No call gets the result before the key is free: neither the leader nor,
		 * below, its waiters. */
		if
		:: a == NONE -> assert(current != f && !call[f].isShared && !call[f].abandoned)
		:: else -> assert(act[a].byKey[call[f].key] != f || act[a].claims == OVER)
		fi;
		assert(!(call[f].isShared && call[f].unshared));   /* a shared flight is spared */
		assert(!call[f].cancelled || call[f].abandoned);
		if
		:: hosted(f)
		:: !hosted(f) && call[call[f].answers].doChan -> deliver(call[f].answers)
		:: else -> gets(call[f].answers, f)
		fi
	};
	do
	:: w == 0 -> break
	:: else ->
		atomic {
			d = 0;
			do
			:: w & (1 << d) -> break
			:: else -> d++
			od;
			w = w & ~(1 << d);
			deliver(d);
			d = 0
		}
	od;
#ifndef WOKEN_EARLY
	wake(f)
#endif
#ifdef WOKEN_TWICE
	;
	wake(f)
#endif
	}
}

/* leader.lead and leader.host in a goroutine of their own */
proctype lead(byte a; byte f; bool begun) {
	bool begins;
	byte e, w, d;
	if :: !begun -> answers[call[f].answers]?_ :: else fi;
	leadInline(a, f)
}

inline Do(c) {
	claimOrEnter(a, c);
	if
	:: a == NONE
	:: else -> send(a, do_, c); answers[c]?_
	fi;
	if
	:: call[c].answer == joined_ -> await(c)
	:: else ->
		if :: call[c].answer == willLead_ -> answers[c]?_ :: else fi;   /* the flight begins */
		f = call[c].flight;
		leadInline(a, f)
	fi
}

inline DoChan(c) {
	call[c].doChan = true;
	claimOrEnter(a, c);
	if
	:: a == NONE
	:: else -> send(a, do_, c); answers[c]?_
	fi;
	if
	:: call[c].answer == joined_
	:: else -> run lead(a, call[c].flight, call[c].answer != willLead_)
	fi
}

inline returns() {
	atomic {
		returned++;
		/* When the last call returns, the address is at rest. */
		if :: returned == CALLERS && abandonedFlights == 0 -> assert(current == NONE && alive == 0) :: else fi
	}
}

inline DoContext(c) {
	STEP {
		first == c -> first++;                     /* they are interchangeable, so they begin in order */
		claimOrEnter(a, c)
	};
	if
	:: a == NONE -> run lead(NONE, c, true)
	:: else ->
		send(a, do_, c);
		atomic {
			answers[c]?_;
			if :: call[c].answer == hosts_ -> run lead(a, c, true) :: else fi
		}
	fi;
	/* waitOrLeave */
	a = 0;
	if
	:: STEP { await(c); returns() }
	:: claim(a);
	   if
	   :: a == NONE -> assert(call[call[c].flight].landed)
	   :: else -> send(a, leave_, c)
	   fi;
	   STEP {
	   if
	   :: a != NONE -> answers[c]?_
#ifdef ANSWER_NOT_AWAITED
	   :: a != NONE && call[call[c].flight].woken
#endif
	   :: else
	   fi;
	   if
	   :: call[c].left
#ifdef LEFT_AT_REST
	   :: !call[c].left && a == NONE
#endif
	   :: else -> await(c)
	   fi;
	   if
	   :: call[c].last -> call[call[c].flight].cancelled = true
	   :: else
	   fi;
	   returns()
	   }
	fi
}

inline Forget(c, kind) {             /* and ForgetUnshared */
	claim(a);
	if
	:: a == NONE
	:: else ->
		send(a, kind, c)
#ifndef FORGET_UNANSWERED
		;
		answers[c]?_
#endif
	fi
}

inline chooseKey(c) {
	if :: call[c].key = 0 :: KEYS > 1 -> call[c].key = 1 fi
}

proctype caller() {
	byte a, e, w, d, f;
	bool entered, begins, over;
	DoChan(0);
	Forget(1, forget_);
	Do(2);
	/* Flight 0 was forgotten, unless it began at that Forget. */
	assert(call[2].flight != 0 || (LEAVERS > 0 || FRESH) && !call[0].forgotten);
	results[0]?_;
	returns()
}

proctype doer(byte c) {
	byte a, e, w, d, f;
	bool entered, begins, over;
	chooseKey(c);
	if
	:: Do(c)
	:: LEAVERS > 0 -> DoChan(c); results[c]?_
	fi;
	returns()
}

proctype forgetter(byte c) {
	byte a, e;
	bool begins, over;
	chooseKey(c);
	if
	:: Forget(c, forget_)
	:: Forget(c, forgetUnshared_)
	fi;
	returns()
}

proctype leaver(byte c) {
	byte a, e;
	bool entered, begins, over;
	chooseKey(c);
	DoContext(c)
}

init {
	byte c;
	atomic {
		do
		:: c < CALLS ->
			call[c].answers = c;
			if :: mayLeave(c) -> call[c].answers = c + LEAVERS :: else fi;   /* its host's */
			c++
		:: else -> break
		od;
		if :: MIXED > 0 -> run caller() :: else fi;
		c = 3 * MIXED;
		do :: c < 3 * MIXED + DOS -> run doer(c); c++ :: else -> break od;
		do :: c < CALLS - LEAVERS -> run forgetter(c); c++ :: else -> break od;
		do :: c < CALLS -> run leaver(c); c++ :: else -> break od
	};
	_nr_pr == 1;
	d_step {
		assert(current == NONE && alive == 0 && abandonedFlights == 0);
		c = 0;
		do
		:: c < CALLS + LEAVERS ->
			assert(due[c] == 0 && empty(answers[c]));    /* each message is answered */
			if
			:: c < CALLS && call[c].begun ->
				assert(call[c].landed && call[c].woken);
				assert(call[c].cancelled == call[c].abandoned);
				/* All its callers have the result, and no others. */
				if
				:: hosted(c) -> assert(call[c].got == waiters(c))
				:: else -> assert(call[c].got == (waiters(c) | (1 << call[c].answers)))
				fi;
				assert(call[c].isShared == ((call[c].got & (call[c].got - 1)) != 0))
			:: c < CALLS && !call[c].begun ->
				assert(!call[c].landed && !call[c].cancelled && waiters(c) == 0)
			:: else
			fi;
			c++
		:: else -> break
		od
	}
}
