import Foundation

/// An error that a person can mend: one sentence of cause, one of what to do.
public struct EdgekitError: Error, Equatable, Sendable, LocalizedError, CustomStringConvertible {
  public let what: String
  public let hint: String

  public init(_ what: String, hint: String) {
    self.what = what
    self.hint = hint
  }

  public var description: String { hint.isEmpty ? what : "\(what) — \(hint)" }
  public var errorDescription: String? { description }
}

/// Any error as a sentence that can be shown.
public func sentence(of error: any Error) -> String {
  if let known = error as? EdgekitError { return known.description }
  let told = error.localizedDescription
  return told.isEmpty ? "Something failed: \(error)" : "Something failed: \(told)"
}
