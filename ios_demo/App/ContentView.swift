import EdgeKitCore
import EdgeKitStudio
import PhotosUI
import SwiftUI

/// The one screen: the picture stays in sight, what changes it scrolls below or beside it.
struct ContentView: View {
  let studio: Studio
  @State private var picked: PhotosPickerItem?
  @State private var camera: CameraFeed?
  @State private var showsBenchmark = false
  @Environment(\.verticalSizeClass) private var verticalSize

  var body: some View {
    NavigationStack {
      layout {
        CompareView(studio: studio)
        Form {
          Section {
            sources
          } footer: {
            if studio.isPortrait {
              Text(
                "What comes back is a likely face, not proof of how somebody looked. "
                  + "Restore people who agreed."
              )
            }
          }
          if studio.isBase { ConceptSection(studio: studio) }
          EngineSection(studio: studio)
          Section("Latency") {
            Text(studio.latencyLine).font(.callout.monospacedDigit())
            if studio.isLive {
              Text("\(studio.framesShown) frames shown, \(studio.framesDropped) dropped")
                .font(.callout.monospacedDigit())
            }
          }
        }
      }
      .navigationTitle(studio.title)
      .navigationBarTitleDisplayMode(.inline)
      .toolbar { toolbar }
      .safeAreaInset(edge: .bottom) { StatusBar(studio: studio) }
      .sheet(isPresented: $showsBenchmark) { BenchmarkView(studio: studio) }
    }
    .onChange(of: picked) { _, item in
      guard let item else { return }
      stopCamera()
      Task {
        await studio.show { try await decoded(item) }
        picked = nil
      }
    }
    .onChange(of: studio.isLive) { _, live in if !live { stopCamera() } }
  }

  /// Side by side where the screen is wide and low, above each other elsewhere.
  private var layout: AnyLayout {
    verticalSize == .compact
      ? AnyLayout(HStackLayout(spacing: 0)) : AnyLayout(VStackLayout(spacing: 0))
  }

  @ViewBuilder private var sources: some View {
    PhotosPicker(selection: $picked, matching: .images) {
      Label("Choose a photo", systemImage: "photo.on.rectangle")
    }
    if !studio.isPortrait { liveSources }
    Picker("Longer side", selection: longest) {
      ForEach(studio.isPortrait ? [1024, 2048, 4096] : [256, 512, 1024], id: \.self) { side in
        Text("\(side) px").tag(Int?.some(side))
      }
      Text("As it is").tag(Int?.none)
    }
  }

  /// What an editor of pictures has beside photos: landscapes and the camera.
  @ViewBuilder private var liveSources: some View {
    Menu {
      ForEach(SampleScene.allCases) { scene in
        Button(scene.label) {
          stopCamera()
          Task { await studio.show { scene.photo() } }
        }
      }
    } label: {
      Label("Sample pictures", systemImage: "mountain.2")
    }
    Button {
      if studio.isLive { studio.stopLive() } else { startCamera() }
    } label: {
      Label(
        studio.isLive ? "Stop the camera" : "Live camera",
        systemImage: studio.isLive ? "stop.circle" : "camera")
    }
    .disabled(studio.phase != .ready)
  }

  private var longest: Binding<Int?> {
    Binding(get: { studio.longest }, set: { side in Task { await studio.choose(longest: side) } })
  }

  @ToolbarContentBuilder private var toolbar: some ToolbarContent {
    ToolbarItem(placement: .topBarLeading) {
      Button("Benchmark", systemImage: "stopwatch") { showsBenchmark = true }
        .disabled(studio.phase != .ready)
    }
    ToolbarItem(placement: .topBarTrailing) {
      if let photo = studio.after {
        ShareLink(
          item: EditedPicture(photo: photo),
          preview: SharePreview(
            studio.isPortrait ? "Restored photo" : "Edited photo", image: picture(of: photo)))
      }
    }
  }

  private func startCamera() {
    studio.startLive()
    guard studio.isLive else { return }
    let feed = CameraFeed(studio: studio)
    camera = feed
    Task {
      do {
        try await feed.start()
      } catch {
        studio.stopLive(sentence(of: error))
      }
    }
  }

  private func stopCamera() {
    camera?.stop()
    camera = nil
    if studio.isLive { studio.stopLive() }
  }
}

/// What happened last, in words; errors are marked by more than their colour.
struct StatusBar: View {
  let studio: Studio
  @Environment(\.accessibilityReduceMotion) private var reduceMotion

  var body: some View {
    VStack(alignment: .leading, spacing: 4) {
      if let progress = studio.progress { ProgressView(value: progress) }
      Label(
        studio.status,
        systemImage: studio.statusIsError ? "exclamationmark.triangle.fill" : "info.circle"
      )
      .font(.footnote)
      .foregroundStyle(studio.statusIsError ? Color.red : Color.secondary)
      .accessibilityAddTraits(.updatesFrequently)
    }
    .padding(.horizontal)
    .padding(.vertical, 8)
    .frame(maxWidth: .infinity, alignment: .leading)
    .background(.bar)
    .animation(reduceMotion ? nil : .default, value: studio.status)
    .onChange(of: studio.status) { _, text in
      if studio.statusIsError { AccessibilityNotification.Announcement(text).post() }
    }
  }
}
