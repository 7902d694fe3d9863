import CoreGraphics
import CoreTransferable
import EdgeKitCore
import Foundation
import ImageIO
import PhotosUI
import SwiftUI
import UniformTypeIdentifiers

private let most = 120_000_000
private let least = 16

/// A chosen photo, upright, sRGB, over white.
func decoded(_ item: PhotosPickerItem) async throws -> Photo {
  guard let data = try await item.loadTransferable(type: Data.self) else {
    throw EdgekitError("the photo cannot be read", hint: "choose another one")
  }
  return try decoded(data)
}

func decoded(_ data: Data) throws -> Photo {
  let refused = EdgekitError(
    "this is not a picture that can be decoded", hint: "choose a JPEG, HEIC or PNG")
  guard let source = CGImageSourceCreateWithData(data as CFData, nil),
    let facts = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any],
    let width = facts[kCGImagePropertyPixelWidth] as? Int,
    let height = facts[kCGImagePropertyPixelHeight] as? Int
  else { throw refused }
  guard width * height <= most else {
    throw EdgekitError(
      "the photo has \(width * height / 1_000_000) megapixels", hint: "scale it down first")
  }
  guard min(width, height) >= least else {
    throw EdgekitError(
      "the photo is \(width) x \(height) pixels", hint: "choose one of at least \(least) a side")
  }
  guard let image = CGImageSourceCreateImageAtIndex(source, 0, nil) else { throw refused }
  let orientation = facts[kCGImagePropertyOrientation] as? Int ?? 1
  return try pixels(of: image).upright(orientation: orientation)
}

/// Draw an image over white in sRGB and take its bytes.
private func pixels(of image: CGImage) throws -> Photo {
  let size = Size(height: image.height, width: image.width)
  var rgba = [UInt8](repeating: 255, count: size.height * size.width * 4)
  let drawn = rgba.withUnsafeMutableBytes { bytes -> Bool in
    guard let space = CGColorSpace(name: CGColorSpace.sRGB),
      let context = CGContext(
        data: bytes.baseAddress, width: size.width, height: size.height, bitsPerComponent: 8,
        bytesPerRow: size.width * 4, space: space,
        bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
    else { return false }
    context.setFillColor(red: 1, green: 1, blue: 1, alpha: 1)
    context.fill(CGRect(x: 0, y: 0, width: size.width, height: size.height))
    context.draw(image, in: CGRect(x: 0, y: 0, width: size.width, height: size.height))
    return true
  }
  guard drawn else {
    throw EdgekitError("the photo needs more memory than there is", hint: "choose a smaller one")
  }
  for i in 0..<size.height * size.width { rgba[4 * i + 3] = 255 }  // the skipped byte is undefined
  return Photo(size: size, rgba: rgba)
}

/// A photo for Core Graphics; nil only if memory is out.
func image(of photo: Photo) -> CGImage? {
  guard let space = CGColorSpace(name: CGColorSpace.sRGB),
    let provider = CGDataProvider(data: Data(photo.bytes) as CFData)
  else { return nil }
  return CGImage(
    width: photo.width, height: photo.height, bitsPerComponent: 8, bitsPerPixel: 24,
    bytesPerRow: photo.width * 3, space: space,
    bitmapInfo: CGBitmapInfo(rawValue: CGImageAlphaInfo.none.rawValue), provider: provider,
    decode: nil, shouldInterpolate: true, intent: .defaultIntent)
}

/// A photo for the screen.
@MainActor
func picture(of photo: Photo) -> Image {
  guard let image = image(of: photo) else { return Image(systemName: "photo") }
  return Image(decorative: image, scale: 1)
}

/// The edited photo as a PNG, for the share sheet.
struct EditedPicture: Transferable {
  let photo: Photo

  static var transferRepresentation: some TransferRepresentation {
    DataRepresentation(exportedContentType: .png) { (edited: EditedPicture) in try edited.png() }
      .suggestedFileName("edited.png")
  }

  private func png() throws -> Data {
    let data = NSMutableData()
    let type = UTType.png.identifier as CFString
    guard let image = image(of: photo),
      let file = CGImageDestinationCreateWithData(data, type, 1, nil)
    else { throw EdgekitError("the picture cannot be written", hint: "choose a smaller one") }
    CGImageDestinationAddImage(file, image, nil)
    guard CGImageDestinationFinalize(file) else {
      throw EdgekitError("the picture cannot be written", hint: "try again")
    }
    return data as Data
  }
}

/// Measurements as JSON, for the share sheet.
struct ReportFile: Transferable {
  let data: Data

  static var transferRepresentation: some TransferRepresentation {
    DataRepresentation(exportedContentType: .json) { (report: ReportFile) in report.data }
      .suggestedFileName("edgekit-bench.json")
  }
}
