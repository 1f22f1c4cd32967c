'use strict';
'require baseclass';

/*
 * The words for a score of 0..100, and for how things stand. The engine cuts the scale at the same places
 * (lib/dpi_dual/correlation/events.py; a test compares them).
 *
 *   LIMITS       [ [ name, its least score ], … ], the gravest first; what is below is 'low'
 *   of(score)    -> name
 *   WORDS[name]  -> [ word, kind of its badge ]; 'calm' is for how things stand when there is nothing
 */

const LIMITS = [ [ 'critical', 90 ], [ 'high', 70 ], [ 'medium', 40 ] ];

const WORDS = {
	calm: [ _('calm'), 'ok' ], low: [ _('low'), '' ], medium: [ _('medium'), 'warning' ],
	high: [ _('high'), 'error' ], critical: [ _('critical'), 'error' ]
};

return baseclass.extend({
	LIMITS: LIMITS, WORDS: WORDS,
	of: score => LIMITS.find(([ , least ]) => score >= least)?.[0] ?? 'low'
});
