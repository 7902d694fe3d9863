import AVFoundation
import EdgeKitCore
import EdgeKitEngines
import EdgeKitStudio

/// Camera frames for the studio: while one is edited the others are dropped, by AVFoundation before
/// they are copied here and by a gate after that. Nothing is queued, stored or recorded.
///
/// Unchecked: the session is touched on `queue` alone, everything else is immutable.
final class CameraFeed: NSObject, AVCaptureVideoDataOutputSampleBufferDelegate, @unchecked Sendable
{
  private let session = AVCaptureSession()
  private let queue = DispatchQueue(label: "camera")
  private let gate = FrameGate()
  private let studio: Studio

  init(studio: Studio) { self.studio = studio }

  /// Ask for the camera and begin; throws a sentence if there is none or it is not allowed.
  func start() async throws {
    guard await AVCaptureDevice.requestAccess(for: .video) else {
      throw EdgekitError("this app may not use the camera", hint: "allow it in Settings")
    }
    try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
      queue.async { done.resume(with: Result { try self.configure() }) }
    }
  }

  func stop() {
    queue.async { if self.session.isRunning { self.session.stopRunning() } }
  }

  private func configure() throws {
    guard
      let device = AVCaptureDevice.default(.builtInWideAngleCamera, for: .video, position: .back)
    else { throw EdgekitError("this device has no camera", hint: "choose a photo instead") }
    let output = AVCaptureVideoDataOutput()
    output.alwaysDiscardsLateVideoFrames = true
    output.videoSettings = [
      kCVPixelBufferPixelFormatTypeKey as String: Int(kCVPixelFormatType_32BGRA)
    ]
    output.setSampleBufferDelegate(self, queue: queue)
    session.beginConfiguration()
    session.sessionPreset = .vga640x480
    let input = try AVCaptureDeviceInput(device: device)
    guard session.canAddInput(input), session.canAddOutput(output) else {
      session.commitConfiguration()
      throw EdgekitError("the camera is in use", hint: "close other apps that use it")
    }
    session.addInput(input)
    session.addOutput(output)
    if let connection = output.connection(with: .video),
      connection.isVideoRotationAngleSupported(90)
    {
      connection.videoRotationAngle = 90
    }
    session.commitConfiguration()
    session.startRunning()
  }

  func captureOutput(
    _ output: AVCaptureOutput, didOutput sampleBuffer: CMSampleBuffer,
    from connection: AVCaptureConnection
  ) {
    guard gate.enter() else { return }
    guard let buffer = CMSampleBufferGetImageBuffer(sampleBuffer), let photo = try? Photo(buffer)
    else {
      _ = gate.leave()
      return
    }
    let (studio, gate) = (studio, gate)
    Task { @MainActor in
      await studio.frame(photo)
      studio.noteDropped(gate.leave())
    }
  }
}
