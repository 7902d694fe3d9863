import EdgeKitCore
import EdgeKitStudio
import SwiftUI

/// Measures the loaded file, compares it with Python and with earlier measurements.
struct BenchmarkView: View {
  let studio: Studio
  @State private var calls = 100
  @State private var asksToClear = false
  @Environment(\.dismiss) private var dismiss

  var body: some View {
    NavigationStack {
      List {
        Section {
          LabeledContent("File", value: studio.modelPath)
          Stepper("Calls: \(calls)", value: $calls, in: 10...1000, step: 10)
          Button("Measure") { Task { await studio.measure(calls: calls) } }
            .disabled(studio.isMeasuring || studio.phase != .ready)
          Button("Compare with Python") { Task { await studio.check() } }
            .disabled(studio.isMeasuring || studio.phase != .ready)
          if let progress = studio.progress, studio.isMeasuring { ProgressView(value: progress) }
          if !studio.checkLine.isEmpty { Text(studio.checkLine).font(.callout) }
          Text(studio.status).font(.footnote).foregroundStyle(.secondary)
        } footer: {
          Text("Five calls before that do not count. p99 is given from 100 calls on.")
        }
        Section("History") {
          ForEach(studio.history.rows.reversed()) { row in
            BenchmarkRowView(
              row: row, isBaseline: row.id == studio.history.baseline,
              comparison: studio.history.comparison(row)
            )
            .swipeActions { baselineButton(row) }
            .contextMenu { baselineButton(row) }
          }
        }
      }
      .navigationTitle("Benchmark")
      .navigationBarTitleDisplayMode(.inline)
      .toolbar { toolbar }
      .confirmationDialog("Delete all measurements?", isPresented: $asksToClear) {
        Button("Delete", role: .destructive) { Task { await studio.clearHistory() } }
      }
    }
  }

  private func baselineButton(_ row: BenchmarkRow) -> some View {
    Button(row.id == studio.history.baseline ? "No baseline" : "Baseline") {
      Task { await studio.toggleBaseline(row.id) }
    }
  }

  @ToolbarContentBuilder private var toolbar: some ToolbarContent {
    ToolbarItem(placement: .topBarLeading) {
      Button("Delete", systemImage: "trash") { asksToClear = true }
        .disabled(studio.history.rows.isEmpty)
    }
    ToolbarItem(placement: .topBarTrailing) {
      if let data = studio.report {
        ShareLink(
          item: ReportFile(data: data), preview: SharePreview("Measurements as JSON"))
      }
    }
    ToolbarItem(placement: .confirmationAction) { Button("Done") { dismiss() } }
  }
}

struct BenchmarkRowView: View {
  let row: BenchmarkRow
  let isBaseline: Bool
  let comparison: Comparison?

  var body: some View {
    VStack(alignment: .leading, spacing: 4) {
      Text(row.file).font(.headline)
      Text("\(row.unit.label), \(row.summary.calls) calls, \(row.date.formatted())")
        .font(.caption)
        .foregroundStyle(.secondary)
      Text(row.line).font(.callout.monospacedDigit())
      if isBaseline { Label("Baseline", systemImage: "flag.fill").font(.caption) }
      if let comparison { Text(comparison.sentence).font(.callout) }
      ForEach(row.warnings, id: \.self) { warning in
        Label(warning, systemImage: "exclamationmark.triangle").font(.caption)
      }
    }
    .accessibilityElement(children: .combine)
  }
}
