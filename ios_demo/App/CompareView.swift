import EdgeKitCore
import EdgeKitStudio
import SwiftUI

/// The photo as it was on the left of a divider, edited or with its faces restored on the right. A
/// finger drags the divider, VoiceOver adjusts it, arrow keys move it.
struct CompareView: View {
  let studio: Studio
  @FocusState private var isFocused: Bool

  var body: some View {
    Group {
      if let before = studio.before {
        pictures(before: before, after: studio.after ?? before)
      } else {
        ContentUnavailableView(
          "No photo yet", systemImage: "photo",
          description: Text(
            studio.isPortrait
              ? "Choose one that shows a face."
              : "Choose one, take a sample picture or open the camera."))
      }
    }
    .frame(maxWidth: .infinity)
    .background(Color(uiColor: .secondarySystemBackground))
  }

  private func pictures(before: Photo, after: Photo) -> some View {
    GeometryReader { space in
      let width = space.size.width * studio.split
      ZStack(alignment: .leading) {
        Picture(photo: after).equatable()
        Picture(photo: before).equatable()
          .mask(alignment: .leading) { Rectangle().frame(width: width) }
        Rectangle()
          .fill(.white)
          .frame(width: 3)
          .shadow(radius: 2)
          .overlay { Image(systemName: "arrow.left.and.right.circle.fill").font(.title2) }
          .foregroundStyle(.white, .black)
          .offset(x: width - 1.5)
      }
      .contentShape(Rectangle())
      .gesture(
        DragGesture(minimumDistance: 2)
          .onChanged { studio.setSplit($0.location.x / space.size.width) }
      )
    }
    .aspectRatio(CGFloat(before.width) / CGFloat(before.height), contentMode: .fit)
    .focusable()
    .focused($isFocused)
    .onKeyPress(.leftArrow) { moved(-0.05) }
    .onKeyPress(.rightArrow) { moved(0.05) }
    .accessibilityElement()
    .accessibilityLabel("Before and after")
    .accessibilityValue(studio.splitDescription)
    .accessibilityHint("Swipe up or down to move the divider")
    .accessibilityAdjustableAction { direction in
      switch direction {
      case .increment: studio.moveSplit(by: 0.1)
      case .decrement: studio.moveSplit(by: -0.1)
      @unknown default: break
      }
    }
  }

  private func moved(_ step: Double) -> KeyPress.Result {
    studio.moveSplit(by: step)
    return .handled
  }
}

/// A photo as large as its place allows; drawn anew only when the photo is another one.
struct Picture: View, Equatable {
  let photo: Photo

  var body: some View {
    picture(of: photo)
      .resizable()
      .interpolation(.high)
      .scaledToFit()
  }
}
