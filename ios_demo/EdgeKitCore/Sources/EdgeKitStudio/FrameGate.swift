import Foundation

/// Lets one camera frame in at a time, from any thread: the others are dropped, never queued.
public final class FrameGate: @unchecked Sendable {
  private let lock = NSLock()
  private var taken = false
  private var turnedAway = 0

  public init() {}

  /// Whether the caller may bring its frame; if so, `leave` must follow.
  public func enter() -> Bool {
    lock.withLock {
      if taken {
        turnedAway += 1
      } else {
        taken = true
        return true
      }
      return false
    }
  }

  /// Let the next frame in; returns how many were dropped since the last call.
  public func leave() -> Int {
    lock.withLock {
      defer { (taken, turnedAway) = (false, 0) }
      return turnedAway
    }
  }
}
