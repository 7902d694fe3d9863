package dev.edgekit.core

/** An error that a person can mend: one sentence of cause, one of what to do. */
class EdgekitError(val what: String, val hint: String, cause: Throwable? = null) : Exception("$what — $hint", cause)
