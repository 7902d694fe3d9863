// A stand-in for PhotosUI: see README.md.
import Foundation
import SwiftUI

public struct PhotosPickerItem: Sendable, Equatable {
  public func loadTransferable<T: Transferable>(type: T.Type) async throws -> T? { fatalError() }
}
public struct PHPickerFilter: Sendable { public static let images = PHPickerFilter() }
public struct PhotosPicker: View {
  public init<L: View>(
    selection: Binding<PhotosPickerItem?>, matching: PHPickerFilter?, @ViewBuilder label: () -> L
  ) {}
  public var body: Never { fatalError() }
}
