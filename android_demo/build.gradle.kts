// The plugins and their versions stand in settings.gradle.kts, what each module needs in its own file.
