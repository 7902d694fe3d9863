// A stand-in for SwiftUI: the views and modifiers that the app uses, as Apple documents them, without a
// body. It checks the app's own names, types and isolation. It proves nothing about Apple's framework,
// and nothing about what a screen looks like.
@_exported import Foundation
@_exported import Graphics
@_exported import Observation

// MARK: Views

@MainActor @preconcurrency
public protocol View {
  associatedtype Body: View
  @ViewBuilder @MainActor var body: Body { get }
}
extension Never: View { public var body: Never { fatalError() } }

@resultBuilder public struct ViewBuilder {
  public static func buildExpression<Content: View>(_ content: Content) -> Content { content }
  public static func buildBlock() -> EmptyView { EmptyView() }
  public static func buildBlock<Content: View>(_ content: Content) -> Content { content }
  public static func buildBlock<each Content: View>(_ content: repeat each Content) -> Some { Some() }
  public static func buildIf<Content: View>(_ content: Content?) -> Content? { content }
  public static func buildEither<A: View, B: View>(first: A) -> Either<A, B> { Either() }
  public static func buildEither<A: View, B: View>(second: B) -> Either<A, B> { Either() }
}
extension Optional: View where Wrapped: View { public var body: Never { fatalError() } }
public struct Either<A: View, B: View>: View {
  nonisolated init() {}
  public var body: Never { fatalError() }
}

/// What any view becomes that is not looked into any further.
public struct Some: View { public nonisolated init() {}; public var body: Never { fatalError() } }
public struct EmptyView: View { public nonisolated init() {}; public var body: Never { fatalError() } }

public struct LocalizedStringKey: ExpressibleByStringInterpolation, Sendable {
  public init(stringLiteral value: String) {}
}

public struct Text: View {
  public init(_ key: LocalizedStringKey) {}
  @_disfavoredOverload public init<S: StringProtocol>(_ content: S) {}
  public var body: Never { fatalError() }
}
public struct Label: View {
  public init(_ title: LocalizedStringKey, systemImage: String) {}
  @_disfavoredOverload public init<S: StringProtocol>(_ title: S, systemImage: String) {}
  public var body: Never { fatalError() }
}
public struct ButtonRole: Sendable { public static let destructive = ButtonRole() }
public struct Button: View {
  public init(_ title: LocalizedStringKey, action: @escaping @MainActor () -> Void) {}
  @_disfavoredOverload public init<S: StringProtocol>(_ title: S, action: @escaping @MainActor () -> Void) {}
  public init(_ title: LocalizedStringKey, systemImage: String, action: @escaping @MainActor () -> Void) {}
  public init(_ title: LocalizedStringKey, role: ButtonRole?, action: @escaping @MainActor () -> Void) {}
  public init<L: View>(action: @escaping @MainActor () -> Void, @ViewBuilder label: () -> L) {}
  public var body: Never { fatalError() }
}
public struct Menu: View {
  public init<C: View, L: View>(@ViewBuilder content: () -> C, @ViewBuilder label: () -> L) {}
  public var body: Never { fatalError() }
}
public struct ForEach<Data: RandomAccessCollection, Content: View>: View {
  public init(_ data: Data, @ViewBuilder content: @escaping (Data.Element) -> Content)
  where Data.Element: Identifiable {}
  public init<ID: Hashable>(
    _ data: Data, id: KeyPath<Data.Element, ID>, @ViewBuilder content: @escaping (Data.Element) -> Content
  ) {}
  public var body: Never { fatalError() }
}
public struct Picker<Selection: Hashable>: View {
  public init<C: View>(_ title: LocalizedStringKey, selection: Binding<Selection>, @ViewBuilder content: () -> C) {}
  public var body: Never { fatalError() }
}
public struct Form: View {
  public init<C: View>(@ViewBuilder content: () -> C) {}
  public var body: Never { fatalError() }
}
public struct List: View {
  public init<C: View>(@ViewBuilder content: () -> C) {}
  public var body: Never { fatalError() }
}
public struct Section: View {
  public init<C: View>(@ViewBuilder content: () -> C) {}
  public init<C: View>(_ title: LocalizedStringKey, @ViewBuilder content: () -> C) {}
  public init<C: View, F: View>(@ViewBuilder content: () -> C, @ViewBuilder footer: () -> F) {}
  public var body: Never { fatalError() }
}
public struct Slider: View {
  public init<V: BinaryFloatingPoint, L: View, A: View, B: View>(
    value: Binding<V>, in bounds: ClosedRange<V>, @ViewBuilder label: () -> L,
    @ViewBuilder minimumValueLabel: () -> A, @ViewBuilder maximumValueLabel: () -> B
  ) {}
  public var body: Never { fatalError() }
}
public struct Stepper: View {
  public init<V: Strideable>(
    _ title: LocalizedStringKey, value: Binding<V>, in bounds: ClosedRange<V>, step: V.Stride
  ) {}
  public var body: Never { fatalError() }
}
public struct LabeledContent: View {
  public init<S: StringProtocol>(_ title: LocalizedStringKey, value: S) {}
  public var body: Never { fatalError() }
}
public struct ProgressView: View {
  public init(_ title: LocalizedStringKey) {}
  public init<V: BinaryFloatingPoint>(value: V?) {}
  public var body: Never { fatalError() }
}
public struct ContentUnavailableView: View {
  public init(_ title: LocalizedStringKey, systemImage: String, description: Text?) {}
  public var body: Never { fatalError() }
}
public struct NavigationStack: View {
  public init<C: View>(@ViewBuilder root: () -> C) {}
  public var body: Never { fatalError() }
}
public struct Group: View {
  public init<C: View>(@ViewBuilder content: () -> C) {}
  public var body: Never { fatalError() }
}
public struct HorizontalAlignment: Sendable { public static let leading = HorizontalAlignment() }
public struct Alignment: Sendable { public static let leading = Alignment(); public static let center = Alignment() }
public struct VStack: View {
  public init<C: View>(alignment: HorizontalAlignment, spacing: CGFloat?, @ViewBuilder content: () -> C) {}
  public var body: Never { fatalError() }
}
public struct ZStack: View {
  public init<C: View>(alignment: Alignment, @ViewBuilder content: () -> C) {}
  public var body: Never { fatalError() }
}
@MainActor public protocol Layout {}
public struct HStackLayout: Layout { public init(spacing: CGFloat?) {} }
public struct VStackLayout: Layout { public init(spacing: CGFloat?) {} }
public struct AnyLayout: Layout {
  public init<L: Layout>(_ layout: L) {}
  public func callAsFunction<C: View>(@ViewBuilder _ content: () -> C) -> some View { Some() }
}
public struct GeometryProxy: Sendable { public var size: CGSize { fatalError() } }
public struct GeometryReader: View {
  public init<C: View>(@ViewBuilder content: @escaping (GeometryProxy) -> C) {}
  public var body: Never { fatalError() }
}
public struct Image: View {
  public enum Interpolation: Sendable { case high }
  public init(systemName: String) {}
  public init(decorative: CGImage, scale: CGFloat) {}
  public func resizable() -> Image { self }
  public func interpolation(_ value: Interpolation) -> Image { self }
  public var body: Never { fatalError() }
}
@MainActor public protocol Shape: View {}
public struct Rectangle: Shape { public init() {}; public var body: Never { fatalError() } }
extension Shape {
  public func fill(_ color: Color) -> some View { Some() }
}
public struct Color: View, ShapeStyle {
  public nonisolated init(uiColor: UIColor) {}
  nonisolated init() {}
  public nonisolated static let red = Color(), secondary = Color()
  public var body: Never { fatalError() }
}
public final class UIColor: Sendable { public static let secondarySystemBackground = UIColor() }
public protocol ShapeStyle: Sendable {}
public struct BarStyle: ShapeStyle {}
extension ShapeStyle where Self == BarStyle { public static var bar: BarStyle { BarStyle() } }
extension ShapeStyle where Self == Color {
  public static var secondary: Color { Color() }
  public static var white: Color { Color() }
  public static var black: Color { Color() }
}
public struct Font: Sendable {
  public static let callout = Font(), caption = Font(), footnote = Font(), headline = Font(), title2 = Font()
  public func monospacedDigit() -> Font { self }
}
public struct SharePreview {
  @_disfavoredOverload public init<S: StringProtocol>(_ title: S) {}
  public init(_ title: LocalizedStringKey) {}
  public init(_ title: LocalizedStringKey, image: Image) {}
}
public struct ShareLink: View {
  public init<Item: Transferable>(item: Item, preview: SharePreview) {}
  public var body: Never { fatalError() }
}

// MARK: State

@MainActor @propertyWrapper public struct State<Value> {
  public init(wrappedValue: Value) { fatalError() }
  public var wrappedValue: Value { get { fatalError() } nonmutating set {} }
  public var projectedValue: Binding<Value> { fatalError() }
}
extension State where Value: ExpressibleByNilLiteral { public init() { fatalError() } }
@MainActor @propertyWrapper public struct Binding<Value> {
  public init(get: @escaping @MainActor () -> Value, set: @escaping @MainActor (Value) -> Void) {}
  public var wrappedValue: Value { get { fatalError() } nonmutating set {} }
  public var projectedValue: Binding<Value> { self }
}
@MainActor @propertyWrapper public struct FocusState {
  public init() {}
  public var wrappedValue: Bool { get { fatalError() } nonmutating set {} }
  public var projectedValue: FocusState { self }
}
@MainActor @propertyWrapper public struct Environment<Value> {
  public init(_ path: KeyPath<EnvironmentValues, Value>) {}
  public var wrappedValue: Value { fatalError() }
}
public enum ScenePhase: Sendable { case active, inactive, background }
public enum UserInterfaceSizeClass: Sendable { case compact, regular }
@MainActor public struct DismissAction { public func callAsFunction() {} }
@MainActor public struct EnvironmentValues {
  public var scenePhase: ScenePhase { fatalError() }
  public var verticalSizeClass: UserInterfaceSizeClass? { fatalError() }
  public var accessibilityReduceMotion: Bool { fatalError() }
  public var dismiss: DismissAction { fatalError() }
}

// MARK: App

@MainActor public protocol App {
  associatedtype Body: Scene
  init()
  @SceneBuilder @MainActor var body: Body { get }
}
extension App { public static func main() {} }
@MainActor public protocol Scene {}
@resultBuilder public struct SceneBuilder {
  public static func buildBlock<S: Scene>(_ scene: S) -> S { scene }
}
public struct WindowGroup: Scene { public init<C: View>(@ViewBuilder content: () -> C) {} }
extension Scene {
  public func onChange<V: Equatable>(of value: V, _ action: @escaping @MainActor (V, V) -> Void) -> some Scene { self }
}

// MARK: Toolbars, gestures, keys, accessibility

@MainActor public protocol ToolbarContent {}
public struct ToolbarSome: ToolbarContent { public nonisolated init() {} }
public enum ToolbarItemPlacement { case topBarLeading, topBarTrailing, confirmationAction }
public struct ToolbarItem: ToolbarContent {
  public init<C: View>(placement: ToolbarItemPlacement, @ViewBuilder content: () -> C) {}
}
@resultBuilder public struct ToolbarContentBuilder {
  public static func buildExpression<C: ToolbarContent>(_ content: C) -> C { content }
  public static func buildBlock<each C: ToolbarContent>(_ content: repeat each C) -> ToolbarSome { ToolbarSome() }
}
public enum NavigationBarItem { public enum TitleDisplayMode { case inline } }
@MainActor public protocol Gesture { associatedtype Value }
public struct DragGesture: Gesture {
  public struct Value: Sendable { public var location: CGPoint { fatalError() } }
  public init(minimumDistance: CGFloat) {}
  public func onChanged(_ action: @escaping @MainActor (Value) -> Void) -> DragGesture { self }
}
public struct KeyEquivalent: Sendable { public static let leftArrow = KeyEquivalent(), rightArrow = KeyEquivalent() }
public enum KeyPress { public enum Result: Sendable { case handled, ignored } }
public enum AccessibilityAdjustmentDirection: Sendable { case increment, decrement }
public struct AccessibilityChildBehavior: Sendable { public static let combine = AccessibilityChildBehavior(), ignore = AccessibilityChildBehavior() }
public struct AccessibilityTraits: Sendable { public static let updatesFrequently = AccessibilityTraits() }
public enum AccessibilityNotification {
  public struct Announcement { public init(_ text: String) {}; @MainActor public func post() {} }
}
public enum ContentMode { case fit, fill }
public enum VerticalEdge { case top, bottom }
public struct Edge { public struct Set: OptionSet, Sendable {
  public let rawValue: Int; public init(rawValue: Int) { self.rawValue = rawValue }
  public static let horizontal = Set(rawValue: 1), vertical = Set(rawValue: 2)
} }
public struct Animation: Sendable { public static let `default` = Animation() }

extension View {
  public func task(_ action: @escaping @MainActor @Sendable () async -> Void) -> some View { self }
  public func onReceive<P: Publishing>(_ publisher: P, perform: @escaping @MainActor (P.Output) -> Void) -> some View { self }
  public func onChange<V: Equatable>(of value: V, _ action: @escaping @MainActor (V, V) -> Void) -> some View { self }
  public func font(_ font: Font?) -> some View { self }
  public func foregroundStyle<S: ShapeStyle>(_ style: S) -> some View { self }
  public func foregroundStyle<S: ShapeStyle, T: ShapeStyle>(_ one: S, _ two: T) -> some View { self }
  public func navigationTitle<S: StringProtocol>(_ title: S) -> some View { self }
  public func navigationBarTitleDisplayMode(_ mode: NavigationBarItem.TitleDisplayMode) -> some View { self }
  public func toolbar<C: ToolbarContent>(@ToolbarContentBuilder content: () -> C) -> some View { self }
  public func safeAreaInset<C: View>(edge: VerticalEdge, @ViewBuilder content: () -> C) -> some View { self }
  public func sheet<C: View>(isPresented: Binding<Bool>, @ViewBuilder content: @escaping () -> C) -> some View { self }
  public func confirmationDialog<C: View>(
    _ title: LocalizedStringKey, isPresented: Binding<Bool>, @ViewBuilder actions: () -> C
  ) -> some View { self }
  public func swipeActions<C: View>(@ViewBuilder content: () -> C) -> some View { self }
  public func contextMenu<C: View>(@ViewBuilder menuItems: () -> C) -> some View { self }
  public func disabled(_ value: Bool) -> some View { self }
  public func tag<V: Hashable>(_ value: V) -> some View { self }
  public func padding(_ edges: Edge.Set, _ length: CGFloat? = nil) -> some View { self }
  public func frame(width: CGFloat? = nil, height: CGFloat? = nil) -> some View { self }
  public func frame(maxWidth: CGFloat?, alignment: Alignment = .center) -> some View { self }
  public func background<S: ShapeStyle>(_ style: S) -> some View { self }
  public func animation<V: Equatable>(_ animation: Animation?, value: V) -> some View { self }
  public func mask<C: View>(alignment: Alignment, @ViewBuilder _ mask: () -> C) -> some View { self }
  public func overlay<C: View>(@ViewBuilder content: () -> C) -> some View { self }
  public func shadow(radius: CGFloat) -> some View { self }
  public func offset(x: CGFloat) -> some View { self }
  public func contentShape<S: Shape>(_ shape: S) -> some View { self }
  public func gesture<G: Gesture>(_ gesture: G) -> some View { self }
  public func aspectRatio(_ ratio: CGFloat?, contentMode: ContentMode) -> some View { self }
  public func scaledToFit() -> some View { self }
  public func focusable() -> some View { self }
  public func focused(_ state: FocusState) -> some View { self }
  public func onKeyPress(_ key: KeyEquivalent, action: @escaping @MainActor () -> KeyPress.Result) -> some View { self }
  public func accessibilityElement(children: AccessibilityChildBehavior = .ignore) -> some View { self }
  public func accessibilityLabel(_ label: LocalizedStringKey) -> some View { self }
  public func accessibilityHint(_ hint: LocalizedStringKey) -> some View { self }
  @_disfavoredOverload public func accessibilityValue<S: StringProtocol>(_ value: S) -> some View { self }
  public func accessibilityValue(_ value: LocalizedStringKey) -> some View { self }
  public func accessibilityAddTraits(_ traits: AccessibilityTraits) -> some View { self }
  public func accessibilityAdjustableAction(
    _ handler: @escaping @MainActor (AccessibilityAdjustmentDirection) -> Void
  ) -> some View { self }
}
extension View where Self: Equatable { public func equatable() -> some View { self } }

public protocol Publishing { associatedtype Output }
public struct NotificationPublisher: Publishing { public typealias Output = Notification }
extension NotificationCenter {
  public func publisher(for name: Notification.Name) -> NotificationPublisher { fatalError() }
}
extension URL {
  public static var applicationSupportDirectory: URL { fatalError() }
  public static var cachesDirectory: URL { fatalError() }
}
