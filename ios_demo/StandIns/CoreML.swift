// A stand-in for Core ML: the declarations that EdgeKitEngines uses, as Apple
// documents them, without a body. It finds our own mistakes of type and isolation on machines
// without Apple's SDK. It proves nothing about Apple's frameworks.
import Foundation
@_exported import Graphics

public enum MLComputeUnits: Int, Sendable { case cpuOnly, cpuAndGPU, all, cpuAndNeuralEngine }
public class MLModelConfiguration {
  public init() {}
  public var computeUnits = MLComputeUnits.all
}
public class MLMultiArray {
  public init<ShapedArray: MLShapedArrayProtocol>(_ shapedArray: ShapedArray) {}
}
public protocol MLShapedArrayProtocol {
  associatedtype Scalar
  init(converting multiArray: MLMultiArray)
  init<S: Sequence>(scalars: S, shape: [Int]) where S.Element == Scalar
  var scalars: [Scalar] { get set }
}
public struct MLShapedArray<Scalar>: MLShapedArrayProtocol {
  public init(converting multiArray: MLMultiArray) { fatalError() }
  public init<S: Sequence>(scalars: S, shape: [Int]) where S.Element == Scalar { fatalError() }
  public var scalars: [Scalar]
}
public class MLFeatureValue {
  public init(pixelBuffer: CVPixelBuffer) {}
  public init(multiArray: MLMultiArray) {}
  public var imageBufferValue: CVPixelBuffer? { fatalError() }
  public var multiArrayValue: MLMultiArray? { fatalError() }
}
public protocol MLFeatureProvider { func featureValue(for name: String) -> MLFeatureValue? }
public class MLDictionaryFeatureProvider: MLFeatureProvider {
  public init(dictionary: [String: Any]) throws {}
  public func featureValue(for name: String) -> MLFeatureValue? { fatalError() }
}
public class MLModel {
  public init(contentsOf url: URL, configuration: MLModelConfiguration) throws {}
  public class func compileModel(at url: URL) async throws -> URL { fatalError() }
  public func prediction(from input: any MLFeatureProvider) throws -> any MLFeatureProvider { fatalError() }
}
