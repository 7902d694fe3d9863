#if canImport(CoreVideo)
  import CoreVideo
  import EdgeKitCore
  import Foundation

  private let noPicture = EdgekitError(
    "a picture buffer could not be made", hint: "close other apps and try again")

  /// A BGRA buffer backed by an IOSurface, so that every compute unit reads it in place.
  func pictureBuffer(_ size: Size) throws -> CVPixelBuffer {
    var buffer: CVPixelBuffer?
    let options = [kCVPixelBufferIOSurfacePropertiesKey: [:] as CFDictionary] as CFDictionary
    CVPixelBufferCreate(
      kCFAllocatorDefault, size.width, size.height, kCVPixelFormatType_32BGRA, options, &buffer)
    guard let buffer else { throw noPicture }
    return buffer
  }

  extension Photo {
    /// Copy a BGRA buffer, for example a camera frame.
    public init(_ buffer: CVPixelBuffer) throws {
      guard CVPixelBufferGetPixelFormatType(buffer) == kCVPixelFormatType_32BGRA else {
        throw EdgekitError("a picture came in another format", hint: "export the bundle again")
      }
      CVPixelBufferLockBaseAddress(buffer, .readOnly)
      defer { CVPixelBufferUnlockBaseAddress(buffer, .readOnly) }
      guard let base = CVPixelBufferGetBaseAddress(buffer) else { throw noPicture }
      let size = Size(height: CVPixelBufferGetHeight(buffer), width: CVPixelBufferGetWidth(buffer))
      let stride = CVPixelBufferGetBytesPerRow(buffer)
      let count = size.height * size.width * 3
      let bytes = [UInt8](unsafeUninitializedCapacity: count) { bytes, used in
        for y in 0..<size.height {
          let row = (base + y * stride).assumingMemoryBound(to: UInt8.self)
          for x in 0..<size.width {
            let to = (y * size.width + x) * 3
            bytes[to] = row[4 * x + 2]
            bytes[to + 1] = row[4 * x + 1]
            bytes[to + 2] = row[4 * x]
          }
        }
        used = count
      }
      self.init(size: size, bytes: bytes)
    }

    /// Fill a BGRA buffer of the photo's size.
    func write(to buffer: CVPixelBuffer) throws {
      CVPixelBufferLockBaseAddress(buffer, [])
      defer { CVPixelBufferUnlockBaseAddress(buffer, []) }
      guard let base = CVPixelBufferGetBaseAddress(buffer) else { throw noPicture }
      let stride = CVPixelBufferGetBytesPerRow(buffer)
      bytes.withUnsafeBufferPointer { bytes in
        for y in 0..<height {
          let row = (base + y * stride).assumingMemoryBound(to: UInt8.self)
          for x in 0..<width {
            let from = (y * width + x) * 3
            row[4 * x] = bytes[from + 2]
            row[4 * x + 1] = bytes[from + 1]
            row[4 * x + 2] = bytes[from]
            row[4 * x + 3] = 255
          }
        }
      }
    }
  }
#endif
