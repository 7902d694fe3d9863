// A stand-in for AVFoundation and Core Media: see README.md.
@_exported import Dispatch
@_exported import Foundation
@_exported import Graphics

public final class CMSampleBuffer {}
public func CMSampleBufferGetImageBuffer(_ buffer: CMSampleBuffer) -> CVPixelBuffer? { fatalError() }

public enum AVMediaType: Sendable { case video }
public final class AVCaptureDevice {
  public enum DeviceType: Sendable { case builtInWideAngleCamera }
  public enum Position: Sendable { case back, front }
  public class func requestAccess(for type: AVMediaType) async -> Bool { fatalError() }
  public class func `default`(_ type: DeviceType, for media: AVMediaType?, position: Position) -> AVCaptureDevice? {
    fatalError()
  }
}
open class AVCaptureInput {}
public final class AVCaptureDeviceInput: AVCaptureInput { public init(device: AVCaptureDevice) throws {} }
open class AVCaptureOutput { public func connection(with type: AVMediaType) -> AVCaptureConnection? { fatalError() } }
public final class AVCaptureConnection {
  public var videoRotationAngle: CGFloat { get { fatalError() } set {} }
  public func isVideoRotationAngleSupported(_ angle: CGFloat) -> Bool { fatalError() }
}
public protocol AVCaptureVideoDataOutputSampleBufferDelegate: AnyObject {
  func captureOutput(
    _ output: AVCaptureOutput, didOutput sampleBuffer: CMSampleBuffer, from connection: AVCaptureConnection)
}
public final class AVCaptureVideoDataOutput: AVCaptureOutput {
  public override init() {}
  public var alwaysDiscardsLateVideoFrames: Bool { get { fatalError() } set {} }
  public var videoSettings: [String: Any]! { get { fatalError() } set {} }
  public func setSampleBufferDelegate(
    _ delegate: (any AVCaptureVideoDataOutputSampleBufferDelegate)?, queue: DispatchQueue?
  ) {}
}
public final class AVCaptureSession {
  public enum Preset: Sendable { case vga640x480 }
  public init() {}
  public var sessionPreset: Preset { get { fatalError() } set {} }
  public var isRunning: Bool { fatalError() }
  public func beginConfiguration() {}
  public func commitConfiguration() {}
  public func canAddInput(_ input: AVCaptureInput) -> Bool { fatalError() }
  public func canAddOutput(_ output: AVCaptureOutput) -> Bool { fatalError() }
  public func addInput(_ input: AVCaptureInput) {}
  public func addOutput(_ output: AVCaptureOutput) {}
  public func startRunning() {}
  public func stopRunning() {}
}
