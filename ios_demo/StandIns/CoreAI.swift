// A stand-in for Core AI (iOS 27): the declarations that EdgeKitEngines uses, as Apple documents
// them, without a body. Spans are arrays here, because this compiler has none. It proves nothing
// about Apple's framework.
import Foundation

public enum ComputeUnitKind: Sendable { case cpu, gpu, neuralEngine }
public struct SpecializationOptions: Sendable {
  public static let `default` = SpecializationOptions()
  public static let cpuOnly = SpecializationOptions()
  init() {}
  public init(preferredComputeUnitKind: ComputeUnitKind) {}
}
public struct NDArray: Sendable {
  public enum ScalarType: Sendable { case float16, float32, int32 }
  public var scalarType: ScalarType { fatalError() }
  public init<Scalar: BitwiseCopyable>(scalars: some Sequence<Scalar>, shape: [Int]) { fatalError() }
  public func view<T: BitwiseCopyable>(as type: T.Type = T.self) -> View<T> { fatalError() }
  public struct View<T> {
    public func withUnsafePointer<R>(_ body: (UnsafePointer<T>, [Int], [Int]) throws -> R) rethrows -> R {
      fatalError()
    }
  }
}
public struct InferenceValue: ~Copyable {
  public var ndArray: NDArray? { consuming get { fatalError() } }
}
public struct InferenceFunction: Sendable {
  public struct Outputs: ~Copyable {
    public mutating func remove(_ name: String) -> InferenceValue? { fatalError() }
  }
  public func run(inputs: [String: NDArray]) async throws -> Outputs { fatalError() }
}
public struct AIModel: Sendable {
  public init(contentsOf url: URL, options: SpecializationOptions = .default) async throws { fatalError() }
  public var functionNames: [String] { fatalError() }
  public func loadFunction(named functionName: String) throws -> InferenceFunction? { fatalError() }
}
