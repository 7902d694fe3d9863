// A stand-in for UIKit: see README.md.
@_exported import Foundation

public enum UIApplication {
  public static var didReceiveMemoryWarningNotification: Notification.Name { fatalError() }
}
