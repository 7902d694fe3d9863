import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;
import java.util.zip.ZipOutputStream;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.ClassWriter;
import org.objectweb.asm.FieldVisitor;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;

/**
 * Rewrites a jar of Java 9 to 17 classes as Java 8 classes, which the dexer takes: `java Lower IN OUT`.
 *
 * Nests are opened: private members of classes that belong to one become visible in their package, as compilers before Java 11
 * made them by accessor methods. Everything but classes and licences is left out.
 */
public final class Lower {
  public static void main(String[] arguments) throws IOException {
    try (ZipInputStream in = new ZipInputStream(new BufferedInputStream(Files.newInputStream(Path.of(arguments[0]))));
        ZipOutputStream out = new ZipOutputStream(new BufferedOutputStream(Files.newOutputStream(Path.of(arguments[1]))))) {
      for (ZipEntry entry; (entry = in.getNextEntry()) != null; ) {
        String name = entry.getName();
        boolean wanted = name.endsWith(".class") ? !name.startsWith("META-INF/") && !name.equals("module-info.class") : name.contains("LICENSE");
        if (!wanted) continue;
        byte[] bytes = in.readAllBytes();
        out.putNextEntry(new ZipEntry(name));
        out.write(name.endsWith(".class") ? lowered(bytes) : bytes);
        out.closeEntry();
      }
    }
  }

  private static byte[] lowered(byte[] bytes) {
    ClassReader reader = new ClassReader(bytes);
    if (reader.readUnsignedShort(6) <= Opcodes.V1_8) return bytes;
    ClassWriter writer = new ClassWriter(0);
    reader.accept(new Visitor(writer, nested(reader)), 0);
    return writer.toByteArray();
  }

  private static boolean nested(ClassReader reader) {
    boolean[] found = {false};
    reader.accept(
        new ClassVisitor(Opcodes.ASM9) {
          @Override
          public void visitNestHost(String host) {
            found[0] = true;
          }

          @Override
          public void visitNestMember(String member) {
            found[0] = true;
          }
        },
        ClassReader.SKIP_CODE);
    return found[0];
  }

  private static final class Visitor extends ClassVisitor {
    private final boolean nested;

    Visitor(ClassWriter writer, boolean nested) {
      super(Opcodes.ASM9, writer);
      this.nested = nested;
    }

    @Override
    public void visit(int version, int access, String name, String signature, String parent, String[] interfaces) {
      super.visit(Opcodes.V1_8, access, name, signature, parent, interfaces);
    }

    @Override
    public void visitNestHost(String host) {}

    @Override
    public void visitNestMember(String member) {}

    @Override
    public void visitPermittedSubclass(String subclass) {}

    @Override
    public FieldVisitor visitField(int access, String name, String type, String signature, Object value) {
      return super.visitField(opened(access), name, type, signature, value);
    }

    @Override
    public MethodVisitor visitMethod(int access, String name, String type, String signature, String[] exceptions) {
      int made = opened(access);
      boolean dispatched = (access & (Opcodes.ACC_PRIVATE | Opcodes.ACC_STATIC)) == Opcodes.ACC_PRIVATE && !name.equals("<init>");
      // A method that was private must not be overridden by one of its name in a subclass.
      if (nested && dispatched && (access & Opcodes.ACC_NATIVE) == 0) made |= Opcodes.ACC_FINAL;
      return super.visitMethod(made, name, type, signature, exceptions);
    }

    private int opened(int access) {
      return nested ? access & ~Opcodes.ACC_PRIVATE : access;
    }
  }
}
