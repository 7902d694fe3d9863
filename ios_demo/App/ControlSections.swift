import EdgeKitCore
import EdgeKitStudio
import SwiftUI

/// Which concept a base is switched to, and how much of a second one is mixed in.
struct ConceptSection: View {
  let studio: Studio

  var body: some View {
    Section("Concept") {
      Picker("First", selection: first) {
        ForEach(studio.concepts) { Text($0.prompt).tag($0.name) }
      }
      Picker("Second", selection: second) {
        Text("None").tag(String?.none)
        ForEach(studio.concepts) { Text($0.prompt).tag(String?.some($0.name)) }
      }
      if studio.isMixing {
        let percent = Int((studio.share * 100).rounded())
        Slider(value: share, in: 0...1) {
          Text("Share of the second")
        } minimumValueLabel: {
          Text("First")
        } maximumValueLabel: {
          Text("Second")
        }
        .accessibilityValue("\(percent) percent")
        LabeledContent("Share of the second", value: "\(percent) %")
      }
    }
  }

  private var first: Binding<String> {
    Binding(
      get: { studio.firstConcept }, set: { name in Task { await studio.choose(first: name) } })
  }

  private var second: Binding<String?> {
    Binding(
      get: { studio.secondConcept }, set: { name in Task { await studio.choose(second: name) } })
  }

  private var share: Binding<Double> {
    Binding(get: { studio.share }, set: { value in Task { await studio.setShare(value) } })
  }
}

/// Which bundle, which file of it, and where it runs.
struct EngineSection: View {
  let studio: Studio

  var body: some View {
    Section("Model") {
      if studio.bundles.count > 1 {
        Picker("Bundle", selection: bundle) {
          ForEach(studio.bundles.indices, id: \.self) { index in
            Text(studio.bundles[index].manifest.name).tag(index)
          }
        }
      }
      Picker("File", selection: model) {
        ForEach(studio.models) { entry in
          Text(entry.label).tag(entry.path)
        }
      }
      Picker("Runs on", selection: unit) {
        ForEach(ComputeUnit.allCases) { Text($0.label).tag($0) }
      }
      if studio.phase == .loading {
        ProgressView("Loading")
      } else if !studio.engineLine.isEmpty {
        Text(studio.engineLine).font(.callout)
      }
      if studio.phase == .empty, studio.bundle != nil {
        Button("Load the model again") { Task { await studio.resume() } }
      }
    }
  }

  private var bundle: Binding<Int> {
    Binding(
      get: { studio.bundleIndex }, set: { index in Task { await studio.choose(bundle: index) } })
  }

  private var model: Binding<String> {
    Binding(get: { studio.modelPath }, set: { path in Task { await studio.choose(model: path) } })
  }

  private var unit: Binding<ComputeUnit> {
    Binding(get: { studio.unit }, set: { unit in Task { await studio.choose(unit: unit) } })
  }
}
